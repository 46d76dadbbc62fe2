CREATE TABLE "emergency_stops" (
	"id" uuid PRIMARY KEY NOT NULL,
	"agent_id" uuid NOT NULL,
	"reason" text NOT NULL,
	"actor_id" text COLLATE "C" NOT NULL,
	"stopped_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"resume_hash" "bytea" NOT NULL,
	"wrapped_proof" "bytea" NOT NULL,
	"kek_id" text NOT NULL,
	"resume_proof" "bytea",
	"resumed_at" timestamp (6) with time zone,
	CONSTRAINT "emergency_stops_resumed_by_proof" CHECK (resumed_at is null or (resume_proof is not null and sha256(resume_proof) = resume_hash))
);
--> statement-breakpoint
CREATE UNIQUE INDEX "emergency_stops_in_force" ON "emergency_stops" USING btree ("agent_id") WHERE resumed_at is null;--> statement-breakpoint
-- A stop ends by its proof alone, which only the master key opens: whoever may write to the table can neither take a stop
-- away nor make another of it. The wrap alone may change, for a change of the master key.
CREATE FUNCTION "emergency_stops_refuse_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'UPDATE' THEN
    IF (NEW.id, NEW.agent_id, NEW.reason, NEW.actor_id, NEW.stopped_at, NEW.resume_hash)
      IS NOT DISTINCT FROM (OLD.id, OLD.agent_id, OLD.reason, OLD.actor_id, OLD.stopped_at, OLD.resume_hash)
      AND (OLD.resumed_at IS NULL OR (NEW.resumed_at, NEW.resume_proof) IS NOT DISTINCT FROM (OLD.resumed_at, OLD.resume_proof))
    THEN RETURN NEW; END IF;
  END IF;
  RAISE EXCEPTION 'a row of emergency_stops only ends, by its proof: % is refused', TG_OP USING ERRCODE = '42501';
END $$;--> statement-breakpoint
CREATE TRIGGER "emergency_stops_no_row_change" BEFORE UPDATE OR DELETE ON "emergency_stops"
  FOR EACH ROW EXECUTE FUNCTION "emergency_stops_refuse_change"();--> statement-breakpoint
CREATE TRIGGER "emergency_stops_no_truncate" BEFORE TRUNCATE ON "emergency_stops"
  FOR EACH STATEMENT EXECUTE FUNCTION "emergency_stops_refuse_change"();--> statement-breakpoint
CREATE TRIGGER "emergency_stops_kek_id_made_under_active" AFTER INSERT ON "emergency_stops" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('kek_id');--> statement-breakpoint
CREATE TRIGGER "emergency_stops_kek_id_under_active" AFTER UPDATE OF "kek_id" ON "emergency_stops" FOR EACH ROW
  WHEN (NEW.kek_id IS NOT NULL AND NEW.kek_id IS DISTINCT FROM OLD.kek_id)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('kek_id');

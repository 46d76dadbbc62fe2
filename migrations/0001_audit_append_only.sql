-- The audit trail only grows. Months are attached as partitions; what falls outside them lands in the default one.
CREATE TABLE "audit_events_default" PARTITION OF "audit_events" DEFAULT;--> statement-breakpoint
CREATE FUNCTION "audit_events_refuse_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit_events is append-only: % is refused', TG_OP USING ERRCODE = '42501';
END $$;--> statement-breakpoint
-- A row trigger on the parent is cloned to every partition, present and future.
CREATE TRIGGER "audit_events_no_row_change" BEFORE UPDATE OR DELETE ON "audit_events"
  FOR EACH ROW EXECUTE FUNCTION "audit_events_refuse_change"();--> statement-breakpoint
-- TRUNCATE fires statement triggers of the named table only, so each partition carries its own.
CREATE TRIGGER "audit_events_no_truncate" BEFORE TRUNCATE ON "audit_events"
  FOR EACH STATEMENT EXECUTE FUNCTION "audit_events_refuse_change"();--> statement-breakpoint
CREATE TRIGGER "audit_events_no_truncate" BEFORE TRUNCATE ON "audit_events_default"
  FOR EACH STATEMENT EXECUTE FUNCTION "audit_events_refuse_change"();--> statement-breakpoint
-- Without rows to change, a statement is refused all the same: nobody should learn that it "worked".
CREATE TRIGGER "audit_events_no_statement_change" BEFORE UPDATE OR DELETE ON "audit_events"
  FOR EACH STATEMENT EXECUTE FUNCTION "audit_events_refuse_change"();--> statement-breakpoint
CREATE TRIGGER "audit_events_no_statement_change" BEFORE UPDATE OR DELETE ON "audit_events_default"
  FOR EACH STATEMENT EXECUTE FUNCTION "audit_events_refuse_change"();

-- The row of `kek_check` becomes the first of the list, with the rights that its table had. Its check value still says
-- whether all rows are sealed.
ALTER TABLE "kek_check" RENAME TO "master_keys";--> statement-breakpoint
ALTER TABLE "master_keys" DROP COLUMN "one_row";--> statement-breakpoint
ALTER TABLE "master_keys" RENAME COLUMN "created_at" TO "since";--> statement-breakpoint
ALTER TABLE "master_keys" ADD CONSTRAINT "master_keys_pkey" PRIMARY KEY ("kek_id");--> statement-breakpoint
ALTER TABLE "master_keys" ADD COLUMN "state" text DEFAULT 'active' NOT NULL;--> statement-breakpoint
ALTER TABLE "master_keys" ALTER COLUMN "state" DROP DEFAULT;--> statement-breakpoint
ALTER TABLE "master_keys" ADD COLUMN "wrapped_root" "bytea";--> statement-breakpoint
ALTER TABLE "master_keys" ADD CONSTRAINT "master_keys_state" CHECK (state in ('active', 'retiring', 'retired'));--> statement-breakpoint
ALTER TABLE "secret_versions" ADD COLUMN "made_under" text;--> statement-breakpoint
CREATE UNIQUE INDEX "master_keys_one_active" ON "master_keys" USING btree ("state") WHERE state = 'active';--> statement-breakpoint
-- A seal names its key: the first 8 bytes are the id of the key-encryption key.
UPDATE "agents" SET "seal" = decode(listed.kek_id, 'hex') || seal FROM "master_keys" AS listed WHERE octet_length(seal) = 32;--> statement-breakpoint
UPDATE "api_keys" SET "seal" = decode(listed.kek_id, 'hex') || seal FROM "master_keys" AS listed WHERE octet_length(seal) = 32;--> statement-breakpoint
UPDATE "scoped_tokens" SET "seal" = decode(listed.kek_id, 'hex') || seal FROM "master_keys" AS listed WHERE octet_length(seal) = 32;--> statement-breakpoint
UPDATE "secrets" SET "seal" = decode(listed.kek_id, 'hex') || seal FROM "master_keys" AS listed WHERE octet_length(seal) = 32;--> statement-breakpoint
UPDATE "signing_keys" SET "seal" = decode(listed.kek_id, 'hex') || seal FROM "master_keys" AS listed WHERE octet_length(seal) = 32;--> statement-breakpoint
UPDATE "settings" SET "seal" = decode(listed.kek_id, 'hex') || seal FROM "master_keys" AS listed WHERE octet_length(seal) = 32;--> statement-breakpoint
UPDATE "approvals" SET "seal" = decode(listed.kek_id, 'hex') || seal FROM "master_keys" AS listed WHERE octet_length(seal) = 32;--> statement-breakpoint
UPDATE "approval_votes" SET "seal" = decode(listed.kek_id, 'hex') || seal FROM "master_keys" AS listed WHERE octet_length(seal) = 32;--> statement-breakpoint
UPDATE "webhook_outbox" SET "seal" = decode(listed.kek_id, 'hex') || seal FROM "master_keys" AS listed WHERE octet_length(seal) = 32;--> statement-breakpoint
-- A seal or a wrap is written under the active key, or under one that left that state in the last 10 s, in which every
-- process follows. Judged after the row is written, when its transaction has a number that a re-wrapping waits for.
CREATE FUNCTION "master_keys_refuse_inactive"() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE refused text;
BEGIN
  IF TG_LEVEL = 'ROW' THEN
    IF TG_ARGV[0] = 'kek_id' THEN refused := NEW.kek_id;
    ELSE refused := encode(substring(NEW.seal FROM 1 FOR 8), 'hex'); END IF;
    PERFORM FROM master_keys WHERE kek_id = refused
      AND (state = 'active' OR state = 'retiring' AND since > clock_timestamp() - interval '10 s');
    IF FOUND THEN RETURN NULL; END IF;
  ELSE
    IF TG_ARGV[0] = 'kek_id' THEN
      SELECT kek_id INTO refused FROM made WHERE kek_id IS NOT NULL AND kek_id NOT IN (
        SELECT kek_id FROM master_keys
        WHERE state = 'active' OR state = 'retiring' AND since > clock_timestamp() - interval '10 s') LIMIT 1;
    ELSE
      SELECT encode(substring(seal FROM 1 FOR 8), 'hex') INTO refused FROM made
      WHERE seal IS NOT NULL AND encode(substring(seal FROM 1 FOR 8), 'hex') NOT IN (
        SELECT kek_id FROM master_keys
        WHERE state = 'active' OR state = 'retiring' AND since > clock_timestamp() - interval '10 s') LIMIT 1;
    END IF;
    IF NOT FOUND THEN RETURN NULL; END IF;
  END IF;
  RAISE EXCEPTION '% was written under the master key %, which is not active', TG_TABLE_NAME, refused
    USING ERRCODE = 'WK001';
END $$;--> statement-breakpoint
CREATE TRIGGER "agents_seal_made_under_active" AFTER INSERT ON "agents" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "agents_seal_under_active" AFTER UPDATE OF "seal" ON "agents" FOR EACH ROW
  WHEN (NEW.seal IS NOT NULL AND NEW.seal IS DISTINCT FROM OLD.seal)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "api_keys_seal_made_under_active" AFTER INSERT ON "api_keys" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "api_keys_seal_under_active" AFTER UPDATE OF "seal" ON "api_keys" FOR EACH ROW
  WHEN (NEW.seal IS NOT NULL AND NEW.seal IS DISTINCT FROM OLD.seal)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "scoped_tokens_seal_made_under_active" AFTER INSERT ON "scoped_tokens" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "scoped_tokens_seal_under_active" AFTER UPDATE OF "seal" ON "scoped_tokens" FOR EACH ROW
  WHEN (NEW.seal IS NOT NULL AND NEW.seal IS DISTINCT FROM OLD.seal)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "secrets_seal_made_under_active" AFTER INSERT ON "secrets" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "secrets_seal_under_active" AFTER UPDATE OF "seal" ON "secrets" FOR EACH ROW
  WHEN (NEW.seal IS NOT NULL AND NEW.seal IS DISTINCT FROM OLD.seal)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "signing_keys_seal_made_under_active" AFTER INSERT ON "signing_keys" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "signing_keys_seal_under_active" AFTER UPDATE OF "seal" ON "signing_keys" FOR EACH ROW
  WHEN (NEW.seal IS NOT NULL AND NEW.seal IS DISTINCT FROM OLD.seal)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "settings_seal_made_under_active" AFTER INSERT ON "settings" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "settings_seal_under_active" AFTER UPDATE OF "seal" ON "settings" FOR EACH ROW
  WHEN (NEW.seal IS NOT NULL AND NEW.seal IS DISTINCT FROM OLD.seal)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "approvals_seal_made_under_active" AFTER INSERT ON "approvals" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "approvals_seal_under_active" AFTER UPDATE OF "seal" ON "approvals" FOR EACH ROW
  WHEN (NEW.seal IS NOT NULL AND NEW.seal IS DISTINCT FROM OLD.seal)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "approval_votes_seal_made_under_active" AFTER INSERT ON "approval_votes" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "approval_votes_seal_under_active" AFTER UPDATE OF "seal" ON "approval_votes" FOR EACH ROW
  WHEN (NEW.seal IS NOT NULL AND NEW.seal IS DISTINCT FROM OLD.seal)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "webhook_outbox_seal_made_under_active" AFTER INSERT ON "webhook_outbox" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "webhook_outbox_seal_under_active" AFTER UPDATE OF "seal" ON "webhook_outbox" FOR EACH ROW
  WHEN (NEW.seal IS NOT NULL AND NEW.seal IS DISTINCT FROM OLD.seal)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('seal');--> statement-breakpoint
CREATE TRIGGER "signing_keys_kek_id_made_under_active" AFTER INSERT ON "signing_keys" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('kek_id');--> statement-breakpoint
CREATE TRIGGER "signing_keys_kek_id_under_active" AFTER UPDATE OF "kek_id" ON "signing_keys" FOR EACH ROW
  WHEN (NEW.kek_id IS NOT NULL AND NEW.kek_id IS DISTINCT FROM OLD.kek_id)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('kek_id');--> statement-breakpoint
CREATE TRIGGER "secret_versions_kek_id_made_under_active" AFTER INSERT ON "secret_versions" REFERENCING NEW TABLE AS made
  FOR EACH STATEMENT EXECUTE FUNCTION "master_keys_refuse_inactive"('kek_id');--> statement-breakpoint
CREATE TRIGGER "secret_versions_kek_id_under_active" AFTER UPDATE OF "kek_id" ON "secret_versions" FOR EACH ROW
  WHEN (NEW.kek_id IS NOT NULL AND NEW.kek_id IS DISTINCT FROM OLD.kek_id)
  EXECUTE FUNCTION "master_keys_refuse_inactive"('kek_id');

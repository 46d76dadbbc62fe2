CREATE TABLE "audit_epochs" (
	"position" integer PRIMARY KEY NOT NULL,
	"id" uuid DEFAULT gen_random_uuid() NOT NULL,
	"epoch" timestamp (6) with time zone NOT NULL,
	"history" text NOT NULL,
	"began_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL
);
--> statement-breakpoint
-- Events from before there were epochs: nobody knows on which server each was written.
ALTER TABLE "audit_events" ADD COLUMN "epoch" timestamp (6) with time zone DEFAULT '-infinity' NOT NULL;--> statement-breakpoint
ALTER TABLE "audit_events" ALTER COLUMN "epoch" SET DEFAULT pg_postmaster_start_time();--> statement-breakpoint
-- Taking an epoch away, or another place in their order, would hide events from an export.
CREATE FUNCTION "audit_epochs_refuse_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'audit_epochs is append-only: % is refused', TG_OP USING ERRCODE = '42501';
END $$;--> statement-breakpoint
CREATE TRIGGER "audit_epochs_no_change" BEFORE UPDATE OR DELETE OR TRUNCATE ON "audit_epochs"
  FOR EACH STATEMENT EXECUTE FUNCTION "audit_epochs_refuse_change"();--> statement-breakpoint
-- Whoever may add events may begin an epoch: a serving role needs no further grant.
DO $$
DECLARE grantee text;
BEGIN
  FOR grantee IN
    SELECT DISTINCT CASE given.grantee WHEN 0 THEN 'public' ELSE quote_ident(pg_get_userbyid(given.grantee)) END
    FROM pg_class AS relation CROSS JOIN LATERAL (
      SELECT * FROM aclexplode(relation.relacl)
      UNION ALL
      SELECT acl.* FROM pg_attribute AS attribute CROSS JOIN LATERAL aclexplode(attribute.attacl) AS acl
      WHERE attribute.attrelid = relation.oid
    ) AS given
    WHERE relation.oid = 'audit_events'::regclass AND given.privilege_type = 'INSERT' AND given.grantee <> relation.relowner
  LOOP
    EXECUTE format('GRANT SELECT, INSERT ON audit_epochs TO %s', grantee);
  END LOOP;
END $$;

CREATE TABLE "approval_votes" (
	"approval_id" text COLLATE "C" NOT NULL,
	"approver_id" uuid NOT NULL,
	"reason" text,
	"at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "approval_votes_approval_id_approver_id_pk" PRIMARY KEY("approval_id","approver_id")
);
--> statement-breakpoint
CREATE TABLE "approvals" (
	"id" text COLLATE "C" PRIMARY KEY NOT NULL,
	"agent_id" uuid NOT NULL,
	"scopes" text[] NOT NULL,
	"ttl_seconds" integer NOT NULL,
	"max_uses" integer,
	"allowed_ips" text[],
	"description" text,
	"access_tier" text NOT NULL,
	"approvals_required" integer NOT NULL,
	"delay_seconds" integer NOT NULL,
	"window_seconds" integer NOT NULL,
	"request_digest" text NOT NULL,
	"created_at" timestamp (6) with time zone NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	"effective_at" timestamp (6) with time zone,
	"denied_at" timestamp (6) with time zone,
	"reason" text,
	"claimed_at" timestamp (6) with time zone,
	"token_id" uuid
);
--> statement-breakpoint
CREATE TABLE "webhook_outbox" (
	"id" uuid PRIMARY KEY NOT NULL,
	"approval_id" text NOT NULL,
	"payload" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"attempts" integer DEFAULT 0 NOT NULL,
	"next_attempt_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"delivered_at" timestamp (6) with time zone,
	"given_up_at" timestamp (6) with time zone,
	"last_failure" text
);
--> statement-breakpoint
ALTER TABLE "api_keys" ALTER COLUMN "key_id" SET DATA TYPE text COLLATE "C";--> statement-breakpoint
ALTER TABLE "audit_events" ALTER COLUMN "event_type" SET DATA TYPE text COLLATE "C";--> statement-breakpoint
ALTER TABLE "audit_events" ALTER COLUMN "actor_id" SET DATA TYPE text COLLATE "C";--> statement-breakpoint
ALTER TABLE "audit_events" ALTER COLUMN "resource_type" SET DATA TYPE text COLLATE "C";--> statement-breakpoint
ALTER TABLE "audit_events" ALTER COLUMN "resource_id" SET DATA TYPE text COLLATE "C";--> statement-breakpoint
ALTER TABLE "idempotency_keys" ALTER COLUMN "path" SET DATA TYPE text COLLATE "C";--> statement-breakpoint
ALTER TABLE "idempotency_keys" ALTER COLUMN "key" SET DATA TYPE text COLLATE "C";--> statement-breakpoint
ALTER TABLE "namespaces" ALTER COLUMN "namespace" SET DATA TYPE text COLLATE "C";--> statement-breakpoint
ALTER TABLE "secrets" ALTER COLUMN "path" SET DATA TYPE text COLLATE "C";--> statement-breakpoint
ALTER TABLE "secrets" ALTER COLUMN "namespace" SET DATA TYPE text COLLATE "C";--> statement-breakpoint
ALTER TABLE "secrets" ALTER COLUMN "key" SET DATA TYPE text COLLATE "C";--> statement-breakpoint
ALTER TABLE "scoped_tokens" ADD COLUMN "approval_id" text;--> statement-breakpoint
ALTER TABLE "approval_votes" ADD CONSTRAINT "approval_votes_approval_id_approvals_id_fk" FOREIGN KEY ("approval_id") REFERENCES "public"."approvals"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "approvals_agent" ON "approvals" USING btree ("agent_id","created_at");--> statement-breakpoint
CREATE INDEX "approvals_newest" ON "approvals" USING btree ("created_at","id");--> statement-breakpoint
CREATE INDEX "webhook_outbox_due" ON "webhook_outbox" USING btree ("next_attempt_at") WHERE delivered_at is null and given_up_at is null;--> statement-breakpoint
CREATE INDEX "audit_events_type" ON "audit_events" USING btree ("event_type","created_at","id");--> statement-breakpoint
CREATE INDEX "audit_events_actor" ON "audit_events" USING btree ("actor_id","created_at","id");--> statement-breakpoint
CREATE INDEX "audit_events_resource" ON "audit_events" USING btree ("resource_id","created_at","id");--> statement-breakpoint
CREATE INDEX "audit_events_resource_type" ON "audit_events" USING btree ("resource_type","created_at","id");
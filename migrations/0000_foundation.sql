CREATE TABLE "agents" (
	"id" uuid PRIMARY KEY NOT NULL,
	"name" text NOT NULL,
	"role" text NOT NULL,
	"email" text,
	"description" text,
	"allowed_scopes" text[],
	"allowed_namespaces" text[],
	"policy" text,
	"revision" integer DEFAULT 1 NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"revoked_at" timestamp (6) with time zone,
	CONSTRAINT "agents_role" CHECK (role in ('admin', 'approver', 'agent'))
);
--> statement-breakpoint
CREATE TABLE "api_keys" (
	"key_id" text PRIMARY KEY NOT NULL,
	"agent_id" uuid NOT NULL,
	"name" text,
	"prefix" text NOT NULL,
	"hash" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"expires_at" timestamp (6) with time zone,
	"last_used_at" timestamp (6) with time zone,
	"revoked_at" timestamp (6) with time zone
);
--> statement-breakpoint
CREATE TABLE "audit_events" (
	"id" uuid NOT NULL,
	"event_type" text NOT NULL,
	"actor_id" text NOT NULL,
	"actor_type" text NOT NULL,
	"resource_type" text NOT NULL,
	"resource_id" text NOT NULL,
	"metadata" jsonb NOT NULL,
	"ip_address" text,
	"request_id" text,
	"created_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"xact" "xid8" DEFAULT pg_current_xact_id() NOT NULL,
	CONSTRAINT "audit_events_created_at_id_pk" PRIMARY KEY("created_at","id")
) PARTITION BY RANGE ("created_at");
--> statement-breakpoint
CREATE TABLE "heartbeat" (
	"one_row" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"at" timestamp (6) with time zone NOT NULL,
	CONSTRAINT "heartbeat_one_row" CHECK (one_row)
);
--> statement-breakpoint
CREATE TABLE "intent_tokens" (
	"jti" uuid PRIMARY KEY NOT NULL,
	"plan_id" uuid NOT NULL,
	"agent_id" uuid NOT NULL,
	"key_id" text NOT NULL,
	"kid" text NOT NULL,
	"plan_hash" text NOT NULL,
	"merkle_root" text NOT NULL,
	"tree_size" integer NOT NULL,
	"policy" text NOT NULL,
	"actions" text NOT NULL,
	"issued_at" timestamp (6) with time zone NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	"revoked_at" timestamp (6) with time zone,
	"root_jti" uuid NOT NULL,
	"ancestors" uuid[] DEFAULT '{}' NOT NULL
);
--> statement-breakpoint
CREATE TABLE "kek_check" (
	"one_row" boolean PRIMARY KEY DEFAULT true NOT NULL,
	"kek_id" text NOT NULL,
	"check_value" "bytea" NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "kek_check_one_row" CHECK (one_row)
);
--> statement-breakpoint
CREATE TABLE "settings" (
	"name" text PRIMARY KEY NOT NULL,
	"value" text NOT NULL,
	"updated_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL
);
--> statement-breakpoint
CREATE TABLE "signing_keys" (
	"kid" text PRIMARY KEY NOT NULL,
	"public_key" "bytea" NOT NULL,
	"wrapped_private_key" "bytea" NOT NULL,
	"kek_id" text NOT NULL,
	"state" text NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "signing_keys_state" CHECK (state in ('next', 'active', 'retiring'))
);
--> statement-breakpoint
ALTER TABLE "api_keys" ADD CONSTRAINT "api_keys_agent_id_agents_id_fk" FOREIGN KEY ("agent_id") REFERENCES "public"."agents"("id") ON DELETE no action ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "agents_active_name" ON "agents" USING btree ("name") WHERE revoked_at is null;--> statement-breakpoint
CREATE INDEX "api_keys_agent" ON "api_keys" USING btree ("agent_id","created_at");--> statement-breakpoint
CREATE UNIQUE INDEX "signing_keys_one_active" ON "signing_keys" USING btree ("state") WHERE state = 'active';
CREATE TABLE "idempotency_keys" (
	"agent_id" uuid NOT NULL,
	"path" text NOT NULL,
	"key" text NOT NULL,
	"body_sha256" text NOT NULL,
	"jwt_sha256" text NOT NULL,
	"jti" uuid NOT NULL,
	"plan_id" uuid NOT NULL,
	"key_id" text NOT NULL,
	"kid" text NOT NULL,
	"iss" text NOT NULL,
	"aud" text NOT NULL,
	"issued_at" timestamp (6) with time zone NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "idempotency_keys_agent_id_path_key_pk" PRIMARY KEY("agent_id","path","key")
);
--> statement-breakpoint
CREATE INDEX "idempotency_keys_age" ON "idempotency_keys" USING btree ("created_at");
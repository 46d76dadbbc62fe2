CREATE TABLE "namespaces" (
	"namespace" text PRIMARY KEY NOT NULL,
	"secret_count" integer NOT NULL,
	CONSTRAINT "namespaces_count" CHECK (secret_count >= 0)
);
--> statement-breakpoint
CREATE TABLE "scoped_tokens" (
	"id" uuid PRIMARY KEY NOT NULL,
	"token_hash" "bytea" NOT NULL,
	"agent_id" uuid NOT NULL,
	"key_id" text NOT NULL,
	"scopes" text[] NOT NULL,
	"allowed_ips" text[],
	"max_uses" integer,
	"uses" integer DEFAULT 0 NOT NULL,
	"access_tier" text DEFAULT 'standard' NOT NULL,
	"description" text,
	"created_at" timestamp (6) with time zone NOT NULL,
	"expires_at" timestamp (6) with time zone NOT NULL,
	"revoked_at" timestamp (6) with time zone,
	CONSTRAINT "scoped_tokens_hash_length" CHECK (octet_length(token_hash) = 32),
	CONSTRAINT "scoped_tokens_uses" CHECK (uses >= 0 and uses <= coalesce(max_uses, uses)),
	CONSTRAINT "scoped_tokens_tier" CHECK (access_tier in ('standard', 'sensitive', 'critical'))
);
--> statement-breakpoint
CREATE TABLE "secret_versions" (
	"secret_id" uuid NOT NULL,
	"version" integer NOT NULL,
	"wrapped_key" "bytea" NOT NULL,
	"kek_id" text NOT NULL,
	"nonce" "bytea" NOT NULL,
	"ciphertext" "bytea" NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	CONSTRAINT "secret_versions_secret_id_version_pk" PRIMARY KEY("secret_id","version")
);
--> statement-breakpoint
CREATE TABLE "secrets" (
	"id" uuid PRIMARY KEY NOT NULL,
	"path" text NOT NULL,
	"namespace" text NOT NULL,
	"key" text NOT NULL,
	"secret_type" text NOT NULL,
	"access_tier" text NOT NULL,
	"metadata" text,
	"description" text,
	"tags" text[] NOT NULL,
	"version" integer DEFAULT 1 NOT NULL,
	"first_readable_version" integer DEFAULT 1 NOT NULL,
	"revision" integer DEFAULT 1 NOT NULL,
	"created_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"updated_at" timestamp (6) with time zone DEFAULT clock_timestamp() NOT NULL,
	"expires_at" timestamp (6) with time zone,
	CONSTRAINT "secrets_whole_path" CHECK (path = namespace || '/' || key),
	CONSTRAINT "secrets_tier" CHECK (access_tier in ('standard', 'sensitive', 'critical'))
);
--> statement-breakpoint
ALTER TABLE "secret_versions" ADD CONSTRAINT "secret_versions_secret_id_secrets_id_fk" FOREIGN KEY ("secret_id") REFERENCES "public"."secrets"("id") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE UNIQUE INDEX "scoped_tokens_hash" ON "scoped_tokens" USING btree ("token_hash");--> statement-breakpoint
CREATE INDEX "scoped_tokens_agent" ON "scoped_tokens" USING btree ("agent_id","id");--> statement-breakpoint
CREATE INDEX "scoped_tokens_expiry" ON "scoped_tokens" USING brin ("expires_at") WITH (autosummarize=true);--> statement-breakpoint
CREATE UNIQUE INDEX "secrets_path" ON "secrets" USING btree ("path");--> statement-breakpoint
CREATE INDEX "secrets_namespace" ON "secrets" USING btree ("namespace","key");--> statement-breakpoint
CREATE INDEX "secrets_expiry" ON "secrets" USING btree ("expires_at") WHERE expires_at is not null;--> statement-breakpoint
CREATE INDEX "intent_tokens_expiry" ON "intent_tokens" USING brin ("expires_at") WITH (autosummarize=true);--> statement-breakpoint
CREATE INDEX "intent_tokens_delegated" ON "intent_tokens" USING btree ("root_jti") WHERE root_jti <> jti;--> statement-breakpoint
-- A limited token's row is updated at every use: with room on its page that costs no index entry.
ALTER TABLE "scoped_tokens" SET (fillfactor = 70);

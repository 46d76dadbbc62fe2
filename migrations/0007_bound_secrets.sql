ALTER TABLE "approvals" ADD COLUMN "bound_secrets" text[] DEFAULT '{}' NOT NULL;--> statement-breakpoint
ALTER TABLE "scoped_tokens" ADD COLUMN "bound_secrets" text[];
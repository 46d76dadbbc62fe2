ALTER TABLE "agents" ADD COLUMN "seal" "bytea";--> statement-breakpoint
ALTER TABLE "api_keys" ADD COLUMN "seal" "bytea";--> statement-breakpoint
ALTER TABLE "approval_votes" ADD COLUMN "seal" "bytea";--> statement-breakpoint
ALTER TABLE "approvals" ADD COLUMN "seal" "bytea";--> statement-breakpoint
ALTER TABLE "scoped_tokens" ADD COLUMN "seal" "bytea";--> statement-breakpoint
ALTER TABLE "secrets" ADD COLUMN "seal" "bytea";--> statement-breakpoint
ALTER TABLE "settings" ADD COLUMN "seal" "bytea";--> statement-breakpoint
ALTER TABLE "signing_keys" ADD COLUMN "seal" "bytea";--> statement-breakpoint
ALTER TABLE "webhook_outbox" ADD COLUMN "seal" "bytea";
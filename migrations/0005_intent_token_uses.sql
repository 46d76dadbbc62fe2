CREATE TABLE "intent_token_uses" (
	"root_jti" uuid PRIMARY KEY NOT NULL,
	"consumed_steps" bit varying(1000) NOT NULL,
	"window_start" timestamp (6) with time zone,
	"window_count" integer DEFAULT 0 NOT NULL
);
--> statement-breakpoint
ALTER TABLE "intent_token_uses" ADD CONSTRAINT "intent_token_uses_root_jti_intent_tokens_jti_fk" FOREIGN KEY ("root_jti") REFERENCES "public"."intent_tokens"("jti") ON DELETE cascade ON UPDATE no action;--> statement-breakpoint
CREATE INDEX "intent_tokens_agent" ON "intent_tokens" USING btree ("agent_id","jti");--> statement-breakpoint
-- Room for the next version of a row in the page of the last one: an update then touches no index.
ALTER TABLE "intent_token_uses" SET (fillfactor = 70);

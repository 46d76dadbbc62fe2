-- Notices tell of more than approvals: the id stands in the payload. A seal no longer covers this column. The first start
-- seals what an earlier version owes without a seal; a notice that was sealed with the column is given up unsent.
ALTER TABLE "webhook_outbox" DROP COLUMN "approval_id";

/** An approval in words: all that it opens, for whom, from where and for how long. */

import { renderFields, renderTable, sanitizeLine } from './terminal-text.ts';

/** As the server answers it. */
export interface Approval {
  readonly id: string;
  readonly agent_name: string;
  readonly access_tier: string;
  readonly secret_count: number;
  readonly secrets: readonly { readonly path: string; readonly access_tier: string }[];
  readonly status: string;
  readonly scopes: readonly string[];
  readonly ttl_seconds: number;
  readonly max_uses: number | null;
  readonly allowed_ips: readonly string[] | null;
  readonly description: string | null;
  readonly expires_at: string;
  readonly approvals: readonly {
    readonly approver_name: string;
    readonly key_id: string | null;
    readonly counts: boolean;
    readonly reason: string | null;
  }[];
  readonly approvals_required: number;
  readonly effective_at: string | null;
  readonly denied_at: string | null;
  readonly reason: string | null;
  readonly request_digest: string;
}

const HEADER = ['ID', 'STATUS', 'TIER', 'VOTES', 'AGENT', 'UNTIL', 'SCOPES'];

export function renderApprovals(approvals: readonly Approval[]): string {
  const rows = approvals.map((approval) => [
    approval.id,
    approval.status,
    approval.access_tier,
    `${countedVotes(approval)}/${approval.approvals_required}`,
    approval.agent_name,
    approval.expires_at,
    approval.scopes.join(' '),
  ]);
  return renderTable([HEADER, ...rows]);
}

export function describeApproval(approval: Approval): string {
  const uses = approval.max_uses === null ? 'as often as it likes' : `at most ${approval.max_uses}×`;
  const from = approval.allowed_ips === null ? 'any address' : approval.allowed_ips.join(', ');
  const votes = approval.approvals.map(({ approver_name, key_id, counts, reason }) => {
    const remarks = [
      ...(reason === null ? [] : [reason]),
      ...(counts
        ? []
        : [`counts no more: key ${key_id ?? 'unknown'} or its owner was revoked or has expired`]),
    ];
    return remarks.length === 0 ? approver_name : `${approver_name} (${remarks.join('; ')})`;
  });
  return renderFields([
    ['request', approval.id],
    ['agent', approval.agent_name],
    ['asks for', approval.scopes.join('\n')],
    ['opens', describeSecrets(approval)],
    ['lives', `${approval.ttl_seconds} seconds from the moment it is handed over`],
    ['used', `${uses}, from ${from}`],
    ['description', approval.description ?? '-'],
    ['status', approval.status],
    ['approved by', `${votes.join(', ') || 'nobody yet'}, ${approval.approvals_required} required`],
    ...(approval.denied_at === null ? [] : [['denied', approval.reason ?? 'without a reason'] as const]),
    ['in effect', approval.effective_at ?? '-'],
    ['until', approval.expires_at],
    ['digest', approval.request_digest],
  ]);
}

/** Numbered, so that nobody takes a part of them for all. */
function describeSecrets({ secret_count, secrets, access_tier }: Approval): string {
  if (secret_count === 0) return 'standard secrets only';
  const lines = secrets.map(({ path, access_tier: tier }, index) => `${index + 1} ${tier} ${path}`);
  const what = secret_count === 1 ? 'this secret' : `these ${secret_count} secrets`;
  return [`standard secrets, and ${what}, up to ${access_tier}:`, ...lines].join('\n');
}

const countedVotes = ({ approvals }: Approval): number => approvals.filter(({ counts }) => counts).length;

/** After a vote: how many there are, and from when the approval can be claimed. */
export function describeVotes(approval: Approval): string {
  const { approvals_required, effective_at } = approval;
  const from = effective_at === null ? '' : `, in effect from ${effective_at}`;
  return sanitizeLine(`${countedVotes(approval)} of ${approvals_required} approvals${from}`);
}

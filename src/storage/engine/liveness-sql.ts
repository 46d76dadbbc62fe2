/** The SQL of "live": each definition stands here and nowhere else. */

/** What a token can still do, its agent's liveness included: `token` joined with `agent`. */
export const TOKEN_STATE = `
  case
    when token.revoked_at is not null or agent.revoked_at is not null then 'revoked'
    when token.expires_at <= clock_timestamp() then 'expired'
    when token.uses >= token.max_uses then 'exhausted'
    else 'live'
  end`;

/**
 * Who may write the audit trail, and what of it: roles other than the owner add events through the trail itself, under the
 * time and the transaction that the database gives them, and nothing by the name of a month. What an older set-up granted
 * beyond that, or default privileges grant on a new month, is taken back.
 */

import type { Session, Statement } from '../engine/database.ts';
import { SENT_COLUMNS } from './audit-store.ts';

/** Of the rights on a table and those on its columns. */
const GRANTEES = `
  select relation.oid::regclass as relation, not tree.isleaf as is_trail,
    case given.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(given.grantee)) end as grantee,
    bool_or(given.privilege_type = 'INSERT') as may_insert
  from pg_partition_tree('audit_events') as tree
  join pg_class as relation on relation.oid = tree.relid
  cross join lateral (
    select * from aclexplode(relation.relacl)
    union all
    select acl.* from pg_attribute as attribute cross join lateral aclexplode(attribute.attacl) as acl
    where attribute.attrelid = relation.oid and tree.isleaf
  ) as given
  where given.grantee <> relation.relowner
    and (tree.isleaf or given.privilege_type in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER'))
  group by 1, 2, 3`;

const WRITERS_OF_EPOCHS = `
  select distinct case given.grantee when 0 then 'public' else quote_ident(pg_get_userbyid(given.grantee)) end as grantee
  from pg_class as relation cross join lateral aclexplode(relation.relacl) as given
  where relation.oid = 'audit_epochs'::regclass
    and given.grantee <> relation.relowner and given.privilege_type <> 'SELECT'`;

/** Only the owner may; in one transaction, so that a server that runs meanwhile is never without what it needs. */
const NARROW: Statement = {
  name: 'narrow_audit_rights',
  effect: 'write',
  text: `
    do $$
    declare held record;
    begin
      for held in ${GRANTEES} loop
        if held.is_trail then
          execute format('revoke insert, update, delete, truncate, references, trigger on %s from %s', held.relation, held.grantee);
          if held.may_insert then
            execute format('grant insert (${SENT_COLUMNS.join(', ')}) on %s to %s', held.relation, held.grantee);
          end if;
        else
          execute format('revoke all on %s from %s', held.relation, held.grantee);
        end if;
      end loop;
      for held in ${WRITERS_OF_EPOCHS} loop
        execute format('revoke insert, update, delete, truncate, references, trigger on audit_epochs from %s', held.grantee);
      end loop;
    end $$`,
};

/** Changes nothing where no role has more than it needs. */
export async function narrowAuditRights(session: Session): Promise<void> {
  await session.query(NARROW, []);
}

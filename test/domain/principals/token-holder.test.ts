/** Nobody but the holder of a token and administrators may see it, end it or pass it on. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ROLES } from '../../../src/domain/principals/role.ts';
import { holderWithinReach, isWithinReach } from '../../../src/domain/principals/token-holder.ts';

test('an administrator reaches everybody’s tokens, everybody else their own', () => {
  for (const role of ROLES) {
    const principal = { id: 'a', role };
    assert.equal(isWithinReach(principal, 'a'), true, role);
    assert.equal(isWithinReach(principal, 'b'), role === 'admin', role);
    assert.equal(holderWithinReach(principal), role === 'admin' ? undefined : 'a', role);
  }
});

test('an id that is empty is nobody’s, and not everybody’s', () => {
  assert.equal(isWithinReach({ id: '', role: 'agent' }, 'b'), false);
});

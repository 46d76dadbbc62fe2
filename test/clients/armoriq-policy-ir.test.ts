/**
 * The published evaluator of the vendor's policy documents, unmodified, decides our documents as we do (contract
 * section 4.8): never wider than the operator's policy, and equal to it where the form can say it.
 */
import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { compilePortablePolicy } from '../../src/domain/policies/portable-policy.ts';
import {
  allowedOfEveryMcp,
  anAction,
  aPortableCase,
  isSaidExactly,
  policyOf,
} from '../domain/policies/portable-cases.ts';
import { PROPERTY_RUNS } from '../support/effort.ts';
import { pythonEnvironment } from '../support/python.ts';
import { runProgram } from '../verify/printed-programs.ts';

const python = await pythonEnvironment('python-client-requirements.txt');
const pythonSkip = python.ok ? false : python.reason;

/** As the SDK calls it in local mode. Whatever it raises is a block there. */
const EVALUATE = `
import json, sys
from armoriq_policy_ir import evaluate
def verdict(document, tool):
    call = {"tool": tool, "arguments": {"x": 1}, "schemaHash": None, "capabilities": [],
            "timestamp": "2026-01-01T00:00:00.000Z", "member": {"email": "a@example.org"}}
    return evaluate(call, {"agent": document})["verdict"]
print(json.dumps([[verdict(case["document"], tool) for tool in case["tools"]] for case in json.load(sys.stdin)]))
`;

const TOOLS_PER_POLICY = 20;

test('armoriq-policy-ir 0.1.3 decides as the operator’s policy says', { skip: pythonSkip }, async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'writ-policy-ir-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'evaluate.py'), EVALUATE);
  const tools = fc.array(anAction, { minLength: TOOLS_PER_POLICY, maxLength: TOOLS_PER_POLICY });
  const cases = fc.sample(fc.tuple(aPortableCase, tools), PROPERTY_RUNS).map(([json, named]) => ({
    json,
    policy: policyOf(json),
    tools: [...named, ...(json.allowed_tools ?? [])],
  }));
  const { code, stdout, stderr } = await runProgram(python.ok ? python.python : '', 'evaluate.py', {
    cwd: folder,
    question: cases.map(({ policy, tools: asked }) => ({
      document: compilePortablePolicy(policy, 'the-policy'),
      tools: asked,
    })),
  });
  assert.equal(code, 0, stderr);
  const verdicts = JSON.parse(stdout) as string[][];
  const seen = { allow: 0, block: 0, narrower: 0 };
  for (const [index, { json, policy, tools: asked }] of cases.entries()) {
    for (const [place, tool] of asked.entries()) {
      const verdict = verdicts[index]?.[place];
      const expected = allowedOfEveryMcp(policy, tool);
      const about = `${JSON.stringify(json)} on ${tool}: ${verdict}`;
      assert.ok(verdict === 'allow' || verdict === 'block', about);
      seen[verdict]++;
      if (isSaidExactly(json)) assert.equal(verdict === 'allow', expected, about);
      else if (verdict === 'allow') assert.ok(expected, about);
      else if (expected) seen.narrower++;
    }
  }
  const all = PROPERTY_RUNS * TOOLS_PER_POLICY;
  assert.ok(seen.allow > all / 20 && seen.block > all / 20, JSON.stringify(seen));
  assert.ok(seen.narrower < all / 50, `what can be said is said: ${JSON.stringify(seen)}`);
});

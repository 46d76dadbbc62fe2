/** What the files of a run took, as it is printed at the end. */
import { type FileCost, overBudget } from './file-costs.ts';
import { sourceFile } from './source-positions.ts';

const SLOWEST = 10;

export function slowestText(costs: readonly FileCost[]): string {
  const total = costs.reduce((sum, { processorSeconds }) => sum + processorSeconds, 0);
  const lines = costs.slice(0, SLOWEST).map(costLine);
  return `\nThe slowest of ${costs.length} files, which kept processors busy for ${total.toFixed(0)} s in all (busy, by the clock):\n${lines.join('')}`;
}

/** Nothing where every file is within the budget, or there is none. */
export function budgetText(costs: readonly FileCost[], budgetSeconds: number): string {
  const over = overBudget(costs, budgetSeconds);
  if (over.length === 0) return '';
  return `\n✖ No file may keep a processor busy for more than ${budgetSeconds} s:\n${over.map(costLine).join('')}`;
}

function costLine({ file, processorSeconds, wallSeconds }: FileCost): string {
  const figures = [processorSeconds, wallSeconds].map((figure) => `${figure.toFixed(1)} s`.padStart(8));
  return `${figures.join('')}  ${sourceFile(file)}\n`;
}

/**
 * The names in a plan's steps (contract section 4.1): an action and the MCP server that it belongs to. Patterns of a
 * policy are written in the same characters, so that every name can be matched.
 */

/** Of an action, of an `mcp`, and of one segment of a pattern. */
export const MAX_STEP_NAME_CHARACTERS = 128;

/** Beside ASCII letters and digits; the source of a regular expression's class, in which a hyphen comes last. */
const MARKS = '_.:@+=~';

/** A whole text of 1 to 128 of these characters. */
const nameOf = (marks: string): RegExp => new RegExp(`^[A-Za-z0-9${marks}-]{1,${MAX_STEP_NAME_CHARACTERS}}$`);
const ruleFor = (marks: string): string =>
  `text of 1 to ${MAX_STEP_NAME_CHARACTERS} ASCII letters, digits and ${marks}-`;

export const MCP_NAME = nameOf(MARKS);
export const MCP_NAME_RULE = ruleFor(MARKS);
/** It may be a path, whose segments a pattern can name. */
export const ACTION_NAME = nameOf(`${MARKS}/`);
export const ACTION_NAME_RULE = ruleFor(`${MARKS}/`);
/** Without the slashes between the segments; `*` stands for any characters. */
export const PATTERN_SEGMENT = nameOf(`${MARKS}*`);

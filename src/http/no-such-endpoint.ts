/** The answer to every path or method that is not served. */

import { WritError } from '../errors.ts';

export const noSuchEndpoint = (): WritError => new WritError('NOT_FOUND', 'There is no such endpoint.');

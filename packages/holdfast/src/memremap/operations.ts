/**
 * operations: names of the short shared operations, by the numbers that a section notes: what somebody was in the middle of
 * when it died.
 */
export const OPERATIONS = [
  'nothing',
  'something short',
  'taking pages',
  'holding a page by its number',
  'holding by handle',
  'putting',
  'dropping what the map itself holds',
  'sending',
  'receiving',
  'dropping parcels',
  'looking a map up',
  'mapping a part',
  'changing a map',
] as const;

export const OP_SHORT = 1;
export const OP_ALLOC = 2;
export const OP_GET_PAGE = 3;
export const OP_HOLD = 4;
export const OP_PUT = 5;
export const OP_DROP = 6;
export const OP_SEND = 7;
export const OP_RECEIVE = 8;
export const OP_DROP_PARCELS = 9;
export const OP_LOOK_UP = 10;
export const OP_MAP_PART = 11;
export const OP_CHANGE_MAP = 12;

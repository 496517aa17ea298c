/**
 * operations: names of the short shared operations, by the numbers that a participant's record says: what somebody was in the middle of
 * when it died.
 */
export const OPERATIONS = [
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

export const OP_SHORT = 0;
export const OP_ALLOC = 1;
export const OP_GET_PAGE = 2;
export const OP_HOLD = 3;
export const OP_PUT = 4;
export const OP_DROP = 5;
export const OP_SEND = 6;
export const OP_RECEIVE = 7;
export const OP_DROP_PARCELS = 8;
export const OP_LOOK_UP = 9;
export const OP_MAP_PART = 10;
export const OP_CHANGE_MAP = 11;

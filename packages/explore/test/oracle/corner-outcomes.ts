// All outcomes of the corners, and how many places there are to die. Printed by record-corners.ts.

export interface Known {
  readonly finished: readonly string[];
  readonly deadlocks: readonly string[];
  readonly crashPoints: number;
}

export const cornerOutcomes: Readonly<Record<string, { readonly sc: Known; readonly tso: Known }>> = {
  'notify-wakes-the-first': {
    sc: { finished: ['1|1,0,1'], deadlocks: ['1|0,-,-', '1|0,0,-', '1|1,1,-'], crashPoints: 0 },
    tso: { finished: ['1|1,0,1'], deadlocks: ['1|0,-,-', '1|0,0,-', '1|1,1,-'], crashPoints: 0 },
  },
  'notify-nobody': {
    sc: { finished: ['0|1,1'], deadlocks: ['0|0,-'], crashPoints: 0 },
    tso: { finished: ['0|1,1'], deadlocks: ['0|0,-'], crashPoints: 0 },
  },
  'notify-nobody-twice': {
    sc: { finished: ['0|0,1,1', '0|1,0,1'], deadlocks: ['0|0,0,-'], crashPoints: 0 },
    tso: { finished: ['0|0,1,1', '0|1,0,1'], deadlocks: ['0|0,0,-'], crashPoints: 0 },
  },
  'notify-two-of-three': {
    sc: {
      finished: [],
      deadlocks: ['0|0,-,-,-', '0|1,-,-,1', '0|1,-,1,-', '0|1,1,-,-', '0|2,-,1,1', '0|2,1,-,1', '0|2,1,1,-'],
      crashPoints: 0,
    },
    tso: {
      finished: [],
      deadlocks: ['0|0,-,-,-', '0|1,-,-,1', '0|1,-,1,-', '0|1,1,-,-', '0|2,-,1,1', '0|2,1,-,1', '0|2,1,1,-'],
      crashPoints: 0,
    },
  },
  'notify-without-change': {
    sc: { finished: ['0,1|,1'], deadlocks: ['0,0|,-'], crashPoints: 0 },
    tso: { finished: ['0,1|,1'], deadlocks: ['0,0|,-'], crashPoints: 0 },
  },
  'notify-elsewhere': {
    sc: { finished: [], deadlocks: ['0,0|0,-'], crashPoints: 0 },
    tso: { finished: [], deadlocks: ['0,0|0,-'], crashPoints: 0 },
  },
  'notify-zero': {
    sc: { finished: [], deadlocks: ['0|0,-'], crashPoints: 0 },
    tso: { finished: [], deadlocks: ['0|0,-'], crashPoints: 0 },
  },
  'sleep-again': {
    sc: {
      finished: [],
      deadlocks: [
        '0|[0,0],-,-',
        '0|[0,1],-,-',
        '0|[0,1],-,1',
        '0|[1,0],-,-',
        '0|[1,0],-,1',
        '0|[1,1],-,1',
        '0|[1,1],[1,1],-',
      ],
      crashPoints: 0,
    },
    tso: {
      finished: [],
      deadlocks: [
        '0|[0,0],-,-',
        '0|[0,1],-,-',
        '0|[0,1],-,1',
        '0|[1,0],-,-',
        '0|[1,0],-,1',
        '0|[1,1],-,1',
        '0|[1,1],[1,1],-',
      ],
      crashPoints: 0,
    },
  },
  'wait-there-and-back': {
    sc: { finished: ['0|,0'], deadlocks: ['0|,-'], crashPoints: 0 },
    tso: { finished: ['0|,0'], deadlocks: ['0|,-'], crashPoints: 0 },
  },
  'wait-for-each-other': {
    sc: { finished: [], deadlocks: ['0,0|-,-', '0,0|-,1', '0,0|1,-'], crashPoints: 0 },
    tso: { finished: [], deadlocks: ['0,0|-,-', '0,0|-,1', '0,0|1,-'], crashPoints: 0 },
  },
  'event-with-plain-store': {
    sc: { finished: ['1|0,1', '1|1,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1|0,1', '1|1,1'], deadlocks: [], crashPoints: 0 },
  },
  'event-without-notify': {
    sc: { finished: ['1|,1'], deadlocks: ['1|,-'], crashPoints: 0 },
    tso: { finished: ['1|,1'], deadlocks: ['1|,-'], crashPoints: 0 },
  },
  'wait-sees-own-store': {
    sc: { finished: [], deadlocks: ['1|-,0', '1|-,1'], crashPoints: 0 },
    tso: { finished: [], deadlocks: ['1|-,0', '1|-,1'], crashPoints: 0 },
  },
  'sb-wait': {
    sc: { finished: ['1,1,0|0,1', '1,1,0|1,0', '1,1,0|1,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1,0|0,1', '1,1,0|1,0', '1,1,0|1,1'], deadlocks: [], crashPoints: 0 },
  },
  'sb-notify': {
    sc: { finished: ['1,1,0|0,1', '1,1,0|1,0', '1,1,0|1,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1,0|0,1', '1,1,0|1,0', '1,1,0|1,1'], deadlocks: [], crashPoints: 0 },
  },
  'sb-failed-cas': {
    sc: { finished: ['1,1,0|0,1', '1,1,0|1,0', '1,1,0|1,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1,0|0,1', '1,1,0|1,0', '1,1,0|1,1'], deadlocks: [], crashPoints: 0 },
  },
  'sb-atomic-loads': {
    sc: { finished: ['1,1,0|0,1', '1,1,0|1,0', '1,1,0|1,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1,0|0,0', '1,1,0|0,1', '1,1,0|1,0', '1,1,0|1,1'], deadlocks: [], crashPoints: 0 },
  },
  n6: {
    sc: { finished: ['1,2|[1,2],', '2,2|[1,0],', '2,2|[1,2],', '2,2|[2,2],'], deadlocks: [], crashPoints: 0 },
    tso: {
      finished: ['1,2|[1,0],', '1,2|[1,2],', '2,2|[1,0],', '2,2|[1,2],', '2,2|[2,2],'],
      deadlocks: [],
      crashPoints: 0,
    },
  },
  n5: {
    sc: { finished: ['1|1,1', '1|1,2', '2|1,2', '2|2,2'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1|1,1', '1|1,2', '2|1,2', '2|2,2'], deadlocks: [], crashPoints: 0 },
  },
  n4: {
    sc: { finished: ['1|0,0', '1|2,0', '2|0,0', '2|0,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1|0,0', '1|2,0', '2|0,0', '2|0,1'], deadlocks: [], crashPoints: 0 },
  },
  'own-newest': {
    sc: { finished: ['2|2,0', '2|2,1', '2|2,2'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['2|2,0', '2|2,1', '2|2,2'], deadlocks: [], crashPoints: 0 },
  },
  'own-atomic-load': {
    sc: { finished: ['1,1|[1,0],1', '1,1|[1,1],0', '1,1|[1,1],1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1|[1,0],0', '1,1|[1,0],1', '1,1|[1,1],0', '1,1|[1,1],1'], deadlocks: [], crashPoints: 0 },
  },
  'own-overwritten': {
    sc: { finished: ['1|[1,1],', '2|[1,1],', '2|[1,2],', '2|[2,2],'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1|[1,1],', '2|[1,1],', '2|[1,2],', '2|[2,2],'], deadlocks: [], crashPoints: 0 },
  },
  'own-other-element': {
    sc: { finished: ['1,2|1,0', '1,2|1,2', '3,2|1,2', '3,2|3,0', '3,2|3,2'], deadlocks: [], crashPoints: 0 },
    tso: {
      finished: ['1,2|1,0', '1,2|1,2', '3,2|1,0', '3,2|1,2', '3,2|3,0', '3,2|3,2'],
      deadlocks: [],
      crashPoints: 0,
    },
  },
  'ended-with-buffer': {
    sc: { finished: ['1|,0', '1|,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1|,0', '1|,1'], deadlocks: [], crashPoints: 0 },
  },
  'membarrier-moments': {
    sc: {
      finished: [
        '1,1,1|0,0,1',
        '1,1,1|0,1,0',
        '1,1,1|0,1,1',
        '1,1,1|1,0,0',
        '1,1,1|1,0,1',
        '1,1,1|1,1,0',
        '1,1,1|1,1,1',
      ],
      deadlocks: [],
      crashPoints: 0,
    },
    tso: {
      finished: [
        '1,1,1|0,0,0',
        '1,1,1|0,0,1',
        '1,1,1|0,1,0',
        '1,1,1|0,1,1',
        '1,1,1|1,0,0',
        '1,1,1|1,0,1',
        '1,1,1|1,1,0',
        '1,1,1|1,1,1',
      ],
      deadlocks: [],
      crashPoints: 0,
    },
  },
  'membarrier-too-early': {
    sc: { finished: ['1,1|0,1', '1,1|1,0', '1,1|1,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1|0,0', '1,1|0,1', '1,1|1,0', '1,1|1,1'], deadlocks: [], crashPoints: 0 },
  },
  'membarrier-by-a-third': {
    sc: { finished: ['1,1|0,1,', '1,1|1,0,', '1,1|1,1,'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1|0,0,', '1,1|0,1,', '1,1|1,0,', '1,1|1,1,'], deadlocks: [], crashPoints: 0 },
  },
  'membarrier-both': {
    sc: { finished: ['1,1|0,1', '1,1|1,0', '1,1|1,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1|0,1', '1,1|1,0', '1,1|1,1'], deadlocks: [], crashPoints: 0 },
  },
  'membarrier-own-store': {
    sc: { finished: ['1,1|0,1', '1,1|1,0', '1,1|1,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1|0,1', '1,1|1,0', '1,1|1,1'], deadlocks: [], crashPoints: 0 },
  },
  'membarrier-with-a-sleeper': {
    sc: { finished: ['0,1|1,1'], deadlocks: ['0,1|0,-'], crashPoints: 0 },
    tso: { finished: ['0,1|1,1'], deadlocks: ['0,1|0,-'], crashPoints: 0 },
  },
  'membarrier-with-the-ended': {
    sc: { finished: ['1,1|0,1', '1,1|1,0', '1,1|1,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1|0,1', '1,1|1,0', '1,1|1,1'], deadlocks: [], crashPoints: 0 },
  },
  'membarrier-for-the-caller': {
    sc: {
      finished: [
        '1,1|,,[0,0]',
        '1,1|,,[0,1]',
        '1,1|,,[1,1]',
        '1,1|,,[2,0]',
        '1,1|,,[2,1]',
        '1,2|,,[0,0]',
        '1,2|,,[0,1]',
        '1,2|,,[1,1]',
        '1,2|,,[2,1]',
      ],
      deadlocks: [],
      crashPoints: 0,
    },
    tso: {
      finished: [
        '1,1|,,[0,0]',
        '1,1|,,[0,1]',
        '1,1|,,[1,1]',
        '1,1|,,[2,0]',
        '1,1|,,[2,1]',
        '1,2|,,[0,0]',
        '1,2|,,[0,1]',
        '1,2|,,[1,1]',
        '1,2|,,[2,1]',
      ],
      deadlocks: [],
      crashPoints: 0,
    },
  },
  'spin-torn': {
    sc: { finished: ['0,1|,1'], deadlocks: ['0,1|,-'], crashPoints: 0 },
    tso: { finished: ['0,1|,1'], deadlocks: ['0,1|,-'], crashPoints: 0 },
  },
  'spin-missed': {
    sc: { finished: ['0|,1'], deadlocks: ['0|,-'], crashPoints: 0 },
    tso: { finished: ['0|,1'], deadlocks: ['0|,-'], crashPoints: 0 },
  },
  'spin-either': {
    sc: { finished: ['1,1|,,[0,1]', '1,1|,,[1,0]', '1,1|,,[1,1]'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1|,,[0,1]', '1,1|,,[1,0]', '1,1|,,[1,1]'], deadlocks: [], crashPoints: 0 },
  },
  'spin-own-buffer': {
    sc: { finished: ['1,1|0,1', '1,1|1,0', '1,1|1,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1|0,0', '1,1|0,1', '1,1|1,0', '1,1|1,1'], deadlocks: [], crashPoints: 0 },
  },
  'spin-handshake': {
    sc: { finished: ['1,1|1,1'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1|1,1'], deadlocks: [], crashPoints: 0 },
  },
  'spin-and-sleep': {
    sc: { finished: [], deadlocks: ['0,0|-,-'], crashPoints: 0 },
    tso: { finished: [], deadlocks: ['0,0|-,-'], crashPoints: 0 },
  },
  'spin-membarrier': {
    sc: { finished: ['1,1|1,[0,0]', '1,1|1,[0,1]', '1,1|1,[1,1]'], deadlocks: [], crashPoints: 0 },
    tso: { finished: ['1,1|1,[0,0]', '1,1|1,[0,1]', '1,1|1,[1,1]'], deadlocks: [], crashPoints: 0 },
  },
  'crash-buffered': {
    sc: {
      finished: ['0,0|"died",[0,0]', '1,0|"died",[0,0]', '1,0|"died",[0,1]', '1,1|,[0,0]', '1,1|,[0,1]', '1,1|,[1,1]'],
      deadlocks: [],
      crashPoints: 2,
    },
    tso: {
      finished: ['0,0|"died",[0,0]', '1,0|"died",[0,0]', '1,0|"died",[0,1]', '1,1|,[0,0]', '1,1|,[0,1]', '1,1|,[1,1]'],
      deadlocks: [],
      crashPoints: 2,
    },
  },
  'crash-before-notify': {
    sc: { finished: ['1|"died",1', '1|,1'], deadlocks: ['0|"died",-', '1|"died",-'], crashPoints: 2 },
    tso: { finished: ['1|"died",1', '1|,1'], deadlocks: ['0|"died",-', '1|"died",-'], crashPoints: 2 },
  },
  'crash-while-locked': {
    sc: {
      finished: ['0,0|"died",0', '0,5|,0', '0,5|,5', '1,0|"died",0', '1,5|"died",0', '1,5|"died",5'],
      deadlocks: ['1,0|"died",-', '1,5|"died",-'],
      crashPoints: 3,
    },
    tso: {
      finished: ['0,0|"died",0', '0,5|,0', '0,5|,5', '1,0|"died",0', '1,5|"died",0', '1,5|"died",5'],
      deadlocks: ['1,0|"died",-', '1,5|"died",-'],
      crashPoints: 3,
    },
  },
  'crash-and-membarrier': {
    sc: {
      finished: ['0,1,0|"died",0', '1,1,0|"died",0', '1,1,0|"died",1', '1,1,1|0,1', '1,1,1|1,0', '1,1,1|1,1'],
      deadlocks: [],
      crashPoints: 2,
    },
    tso: {
      finished: ['0,1,0|"died",0', '1,1,0|"died",0', '1,1,0|"died",1', '1,1,1|0,1', '1,1,1|1,0', '1,1,1|1,1'],
      deadlocks: [],
      crashPoints: 2,
    },
  },
};

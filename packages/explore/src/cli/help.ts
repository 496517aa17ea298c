/** help: what `explore --help` says. */
export const HELP = `explore: runs code that shares memory through every interleaving that can differ

Usage
  explore FILE...                        explore every scenario that the files export
  explore --list FILE...                 show the scenarios, explore nothing
  explore --table FILE.json...           explore programs given as text, and compare with what is known of them
  explore worker --queue URL FILE...     do parts of searches for "explore --queue URL" on other machines

Over the options of each scenario
  --memory sc|tso|portable               which plain accesses may be late
  --mode all|quick|exhaustive|random     which phases run
  --preemptions N                        highest number that the quick phase tries
  --timeouts never|stuck|anytime         when waits time out
  --budget-ms N, --budget-executions N   where a search ends that has come to no end
  --seed N                               of the random phase
  --replay x1:...                        run that one execution, and tell its story

What runs where
  --only TEXT                            scenarios with TEXT in their name
  --workers N                            threads; default one per core. They run scenarios side by side, and help with long ones
  --queue redis://HOST:PORT              long searches are shared with workers on other machines, through Redis or Valkey (BullMQ)

What is written
  --json                                 one object for all, with reports and stories
  --html FILE                            a page with a picture of each story
  --remarks                              what never happened in each scenario, also of more than eight
  --help, --version

A scenario is as it must be when every execution was looked at and none failed (covered), or when the failure that it says it must have
was found. The exit code is 0 when all are, 1 when one is not, 2 when the command line is wrong, and 130 after Ctrl-C, which
ends all searches and prints what they have so far. A second Ctrl-C ends at once.

Examples
  explore test/explore/*.scenario.ts
  explore test/explore/ref.scenario.ts --only "last put" --memory portable
  explore test/explore/ref.scenario.ts --replay x1:AQAAAAE
  explore test/explore/*.scenario.ts --html stories.html --json > result.json
  explore --list test/explore/*.scenario.ts
  explore --table golden/explore/traces.json --only "kill-ref"
  explore test/explore/big.scenario.ts --queue redis://10.0.0.7:6379 --budget-ms 3600000 --budget-executions 1000000000
  explore worker --queue redis://10.0.0.7:6379 test/explore/*.scenario.ts
`;

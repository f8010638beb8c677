// Which of the queries on standard input (a JSON list) Prometheus 3's own grammar for editors does not accept.
import { readFileSync } from "node:fs";
import { parser } from "@prometheus-io/lezer-promql";

const wrong = JSON.parse(readFileSync(0, "utf8")).filter((query) => {
  let faulty = false;
  parser.parse(query).iterate({ enter: (node) => void (faulty ||= node.type.isError) });
  return faulty;
});
process.stdout.write(JSON.stringify(wrong));

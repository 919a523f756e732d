// Sections of a generation's panel: tests, accuracy, samples, cost, identity.

import { nodes, parentOf } from "./data.js";
import { listed, make, toGeneration } from "./dom.js";
import { identifiers, meter, table } from "./fields.js";
import { heading, remark } from "./sources.js";
import { duration, levels, percent, runs, si, signed } from "./words.js";

/** Samples of each kind that are shown. */
const BEST = 3;
const WORST = 3;

const orDash = (value, show) => value === null ? "–" : show(value);

export function gate(node) {
  const head = ["test", "levels", "n", "own", "before", "+", "−", "p", "Δ ≥", ""];
  const body = node.gate_tests.map(row => [row.test, runs(row.levels), String(row.num_prompts),
    (100 * row.candidate).toFixed(1), (100 * row.champion).toFixed(1), String(row.gained), String(row.lost),
    orDash(row.p_value, p => p < 1e-4 ? "<1e-4" : p.toPrecision(2)), (100 * row.difference_low).toFixed(1),
    make("span", { class: row.passed ? "up" : "down" }, row.passed ? "✓" : "✗")]);
  const notes = node.gate_tests.map(row => {
    const parts = [row.alpha === null ? "" : "alpha " + Number(row.alpha.toPrecision(3)),
      row.margin === null ? "" : `margin ${(100 * row.margin).toFixed(1)} pp`].filter(Boolean);
    if (row.reference.length) {
      parts.push(make("span", {}, "compared with ", ...listed(row.reference.map(toGeneration))));
    }
    return parts.length ? make("span", {}, ...parts.flatMap((part, at) => at ? [" · ", part] : [part])) : null;
  });
  const told = make("p", { class: "sub" }, `targets ${levels(node.target_levels)}`);
  if (node.compared_with !== null) told.append(", compared with ", toGeneration(node.compared_with));
  const [count, passed] = node.num_tests;
  if (count) told.append(`; ${passed} of ${count} tests passed`);
  if (body.length < count) told.append(", of which here the notable ones");
  return [heading("Gate"), told, ...(body.length ? [table(head, body, { notes })] : [])];
}

export function accuracy(node) {
  const before = parentOf(node), known = Object.keys(node.accuracy).map(Number).toSorted((a, b) => a - b);
  const body = known.map(level => {
    const own = node.accuracy[level], was = before && before.accuracy[level];
    return [level + (node.target_levels.includes(level) ? " ◂" : ""), meter(own), percent(own.accuracy),
      `${(100 * own.low).toFixed(1)}–${(100 * own.high).toFixed(1)}`, was ? signed(own.accuracy - was.accuracy) : "–"];
  });
  return [heading("Held-out accuracy"), table(["level", "", "accuracy", "interval", "vs parent"], body)];
}

/** By part of a mixture, task of the panel and slice: right answers over all levels. */
export function tasks(node) {
  const body = ["parts", "panel", "slices"].flatMap(kind => Object.entries(node[kind] || {}).map(([name, rows]) => {
    const asked = rows.reduce((sum, row) => sum + row[3], 0), right = rows.reduce((sum, row) => sum + row[2], 0);
    return [kind === "parts" ? name : `${kind.replace(/s$/, "")}: ${name}`, runs(rows.map(row => row[0])),
      `${si(right)} of ${si(asked)}`, asked ? percent(right / asked) : "–"];
  }));
  return body.length ? [heading("By task"), table(["task", "levels", "right", "share"], body)] : [];
}

export function sampled(node) {
  if (!node.sampled.length) return [];
  const body = node.sampled.map(row => [String(row.level),
    ...[row.pass_at_1, row.pass_at_k, row.majority_at_k].map(value => orDash(value, percent)), String(row.k),
    orDash(row.entropy, value => value.toFixed(2))]);
  return [heading("Sampled"), table(["level", "pass@1", "pass@k", "majority@k", "k", "entropy"], body)];
}

/** Gives a table row for each phase of a cost. `show`: writes a number of its kind. */
const phases = (costs, show) => Object.entries(costs).filter(([name]) => !["total", "useful"].includes(name))
  .map(([name, value]) => [name, show(value)]);

export function cost(node) {
  const share = node.useful_share === null ? "" : ` (${percent(node.useful_share)} of generated)`;
  return [heading("Cost"),
    table(["tokens", ""], [...phases(node.tokens, si), ["useful", si(node.tokens.useful) + share]]),
    table(["FLOP", ""], [...phases(node.flops, si), ["total", si(node.flops.total)]]),
    table(["time", ""], [...phases(node.seconds, duration), ["total", duration(node.seconds.total)]])];
}

/** The answers with the highest and with the lowest rewards among those that the page has. */
export function samples(node) {
  const ranked = node.samples.toSorted((a, b) => (b.reward ?? -Infinity) - (a.reward ?? -Infinity));
  if (!ranked.length) return [];
  const best = ranked.slice(0, BEST), worst = ranked.slice(BEST).slice(-WORST);
  return [heading("Best answers"), ...best.map(sampleOf),
    ...(worst.length ? [heading("Worst answers"), ...worst.map(sampleOf)] : [])];
}

function sampleOf(sample) {
  const known = ["PASS", "FAIL"].includes(sample.verdict) ? sample.verdict : "";
  const reward = sample.reward === null ? null : "reward " + sample.reward;
  const told = [sample.verdict, reward, sample.reason, sample.rollout].filter(Boolean).join(" · ");
  return make("div", { class: "sample " + known }, make("pre", {}, `${sample.prompt}${sample.answer}`),
    make("div", { class: "sub" }, told));
}

export function identity(node) {
  const artifacts = Object.entries(node.artifacts || {});
  return [
    heading("Identity"), identifiers([["fingerprint", node.fingerprint], ["ledger hash", node.hash],
      ["recipe", node.recipe_digest], ["code", node.code_version], ["suite", node.suite], ["seed", String(node.seed)],
      ...Object.entries(node.identifiers),
      ...Object.entries(node.verifiers).map(([name, version]) => ["verifier " + name, version])], node.links),
    ...(artifacts.length ? [heading("Artifacts"),
      identifiers(artifacts.flatMap(([role, ref]) => [[role, ref.path], [role + " sha256", ref.digest]]))] : []),
    ...(node.number < nodes.length - 1 ? [] : [remark("It is the newest generation.")])];
}

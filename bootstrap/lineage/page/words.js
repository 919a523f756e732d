// Numbers as people read them, the same as `text.py` and `levels.py` write them.

import { make } from "./dom.js";

/** Gives three significant digits and a decimal prefix: 1234567 -> "1.23M". */
export function si(value) {
  const prefixes = ["", "k", "M", "G", "T", "P", "E", "Z", "Y"];
  let scaled = value, index = 0;
  while (Math.abs(scaled) >= 999.5 && index < prefixes.length - 1) { scaled /= 1000; index += 1; }
  return (index === 0 && Number.isInteger(scaled) ? scaled : Number(scaled.toPrecision(3))) + prefixes[index];
}

export function duration(seconds) {
  if (seconds < 59.95) return seconds.toFixed(1) + " s";
  const whole = Math.round(seconds), minutes = Math.floor(whole / 60);
  if (minutes < 60) return minutes + " min " + String(whole % 60).padStart(2, "0") + " s";
  return Math.floor(minutes / 60) + " h " + String(minutes % 60).padStart(2, "0") + " min";
}

/** Gives in a few words what a generation learnt from. */
export function learnt(node) {
  const { rollouts, passed, failed, trained } = node.accounting, judged = passed + failed;
  return `${si(rollouts)} answers` + (judged ? `, ${Math.round(100 * passed / judged)} % pass` : "") +
    `, ${si(trained)} trained`;
}

/** Gives the same for a card: trained of all answers, and the pass rate. */
export function learntBriefly(node) {
  const { rollouts, passed, failed, trained } = node.accounting, judged = passed + failed;
  return `${si(trained)}/${si(rollouts)} answers` + (judged ? `, ${Math.round(100 * passed / judged)} % pass` : "");
}

export const percent = share => (100 * share).toFixed(1) + " %";
export const points = share => (share > -5e-4 ? "+" : "−") + Math.abs(100 * share).toFixed(1) + " pp";
export const flop = value => si(value).replace(/([A-Z]?)$/, " $1FLOP");

/** Gives a difference of two shares in points, coloured by its sign. */
export function signed(value) {
  return make("span", { class: Math.abs(value) < 5e-4 ? "" : value > 0 ? "up" : "down" }, points(value));
}

/** Gives levels with consecutive ones joined: "1–4, 6". */
export function runs(list) {
  const found = [];
  for (const level of [...new Set(list)].toSorted((a, b) => a - b)) {
    const last = found[found.length - 1];
    if (last && level === last[1] + 1) last[1] = level; else found.push([level, level]);
  }
  return found.map(([first, last]) => first === last ? `${first}` : `${first}–${last}`).join(", ");
}

/** Gives levels with the noun: "levels 1–4, 6". */
export function levels(list) {
  return list.length ? (list.length > 1 ? "levels " : "level ") + runs(list) : "no level";
}

/** Gives one edge in words, with what passed along it where that was measured. */
export function edgeWords({ role, from, to, model }, node) {
  const source = from === null ? model.source : `gen-${from}`, signs = node.diagnostics;
  const told = [`${role}: ${source} → gen-${to}`];
  if (role === "init" || role === "merged") {
    if (node.accounting.rollouts) told.push(learnt(node));
    if (signs.kl_parent !== null) told.push(`KL to the parent ${signs.kl_parent.toPrecision(3)} nats a token`);
    if (signs.model_made !== null) told.push(`${percent(signs.model_made)} model-made`);
  }
  return told.join("; ");
}

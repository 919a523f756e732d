// Cards of generations, labels of models outside the lineage, and the card of folded generations.

import { data, gain, isCompact, statusOf } from "./data.js";
import { make } from "./dom.js";
import { duration, flop, percent, si, signed } from "./words.js";

const BADGES = {
  champion: "★ champion", promoted: "promoted", rejected: "rejected", ungated: "ungated", base: "base",
};

const MARGIN = "in brackets: generalization margin, levels beyond those trained with at least half of the answers right";

export function card(node) {
  const best = node.headline === null ? null : node.accuracy[node.headline], change = gain(node);
  const forked = node.forked_from ? `, forked from ${node.forked_from}` : "";
  const tutors = node.outside_teachers.join(", ");
  const taught = tutors ? `, taught by ${tutors} from outside the lineage` : "";
  const button = make("button", { class: "node " + node.status, type: "button", "data-number": node.number,
    "aria-label": `${node.name}, ${statusOf(node)}, frontier ${node.frontier}${forked}${taught}. ${node.reason}` });
  if (node.on_path) button.classList.add("path");
  if (node.number === data.champion) button.classList.add("champion");
  if (forked || taught) button.classList.add("taught");
  button.append(make("span", { class: "top" }, make("b", {}, node.name),
    make("span", { class: "badge " + statusOf(node) }, BADGES[statusOf(node)])));
  if (node.stage) button.append(make("span", { class: "line" }, `stage ${node.stage}`));
  if (best && isCompact) {
    button.append(make("div", { class: "big" }, percent(best.accuracy),
      make("small", {}, ` L${node.headline} · frontier ${node.frontier}`)));
    return button;
  }
  if (best) button.append(
    make("div", { class: "big" }, percent(best.accuracy), " ",
      change === null ? null : make("small", {}, signed(change))),
    make("span", { class: "line" },
      `level ${node.headline} · ${(100 * best.low).toFixed(1)}–${(100 * best.high).toFixed(1)}`));
  if (node.status !== "rejected") button.append(
    make("span", { class: "line", title: MARGIN },
      `frontier ${node.frontier}` + (node.generalization_margin ? ` (+${node.generalization_margin})` : "") +
      ` · ${duration(node.seconds.total)}`),
    make("span", { class: "line" }, `${si(node.tokens.total)} tokens · ${flop(node.flops.total)}`));
  button.append(make("div", { class: "reason", title: node.reason }, node.reason.replace(/^rejected: /, "")));
  return button;
}

/** Makes the label of a model outside the lineage, which has no card, for the card of the generation that it taught or
 * gave its weights to. Null without such a model. */
export function label(node) {
  const tutors = node.outside_teachers.join(", ");
  const common = { "aria-hidden": "true", "data-number": node.number };
  if (node.forked_from) {
    const words = `forked from ${node.forked_from}`;
    return make("div", { class: "outside origin", ...common, title: words }, words);
  }
  if (!tutors) return null;
  return make("div", { class: "outside", ...common, title: `teacher outside the lineage: ${tutors}` },
    "teacher: " + tutors);
}

/** Makes the card that stands for folded generations. */
export function foldCard(unfold) {
  return make("button", { class: "node fold", type: "button", onclick: unfold });
}

/** Writes the folded generations' names and number onto their card. */
export function describeFold(element, part) {
  const rejected = part.filter(node => node.status === "rejected").length;
  element.replaceChildren(
    make("span", { class: "top" }, make("b", {}, `${part.length} more`), make("span", { class: "badge" }, "show")),
    make("div", { class: "line" }, `${part[0].name} to ${part[part.length - 1].name}, ${rejected} rejected`));
}

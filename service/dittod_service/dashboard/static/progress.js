// How far an update is: what it is at, how many of its steps are taken and how long the rest takes, as words and a bar.

import { capital, duration, h } from "./dom.js";

export const stageNow = (run) => run.stages.find(({ state }) => state === "now");

/** Of one that is open. `beside`: what stands beside the words. */
export function progress(run, ...beside) {
  const steps = run.of ? `${run.done} of ${run.of}` : null;
  const words = [stageNow(run)?.title ?? run.phase, steps, timeLeft(run)].filter(Boolean).join(" · ");
  return h(
    "div",
    { class: "progress wide" },
    h("progress", { max: run.of || 1, value: run.of ? run.done : null, "aria-labelledby": "progress" }),
    h(
      "div",
      { class: "row apart" },
      h("span", { id: "progress" }, capital(words || "asked for; it starts soon")),
      beside,
    ),
  );
}

// Of all of it once all of it is known, else of what it is at.
function timeLeft(run) {
  if (run.seconds_left) return `about ${duration(run.seconds_left)} left`;
  const here = stageNow(run)?.seconds_left;
  return here ? `about ${duration(here)} left of this stage` : null;
}

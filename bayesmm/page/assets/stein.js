// The game of Stein's effect: groups with known truth, three estimates of them, and the reader's.
//
// A round draws a population N(mu, tau^2), groups from it, and a mean of each group's rows with the
// standard error 1. All is pure, and follows from a seed and the number of the round.

export const GAME_GROUPS = 10;

// Mulberry32: 32 bits of state, uniform numbers in [0, 1).
function randomNumbers(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let x = state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return ((x ^ (x >>> 14)) >>> 0) / 4294967296;
  };
}

// Independent standard normal numbers, two at a time (Box and Muller).
function normalNumbers(uniform) {
  let spare = null;
  return () => {
    if (spare !== null) {
      const kept = spare;
      spare = null;
      return kept;
    }
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    spare = radius * Math.sin(angle);
    return radius * Math.cos(angle);
  };
}

// One round: tau is 0.25 to 2 standard errors, the truth and what is seen of it.
export function drawRound(seed, number) {
  const uniform = randomNumbers(Math.imul(seed, 2654435761) + Math.imul(number + 1, 40503));
  for (let i = 0; i < 8; i++) uniform();
  const normal = normalNumbers(uniform);
  const tau = 0.25 * Math.pow(8, uniform());
  const mu = 4 * normal();
  const truth = Array.from({ length: GAME_GROUPS }, () => mu + tau * normal());
  const seen = truth.map((x) => x + normal());
  return { mu, tau, truth, seen };
}

export function meanOf(values) {
  return values.reduce((sum, x) => sum + x, 0) / values.length;
}

// Towards the mean of all by the part `pooled`, 0 to 1.
export function shrink(seen, pooled) {
  const middle = meanOf(seen);
  return seen.map((x) => middle + (1 - pooled) * (x - middle));
}

// The part by which James and Stein's estimate (positive part, towards the mean, sd known to be 1)
// shrinks: (J - 3) / sum of squares, at most 1.
function jamesSteinPart(seen) {
  const middle = meanOf(seen);
  const squares = seen.reduce((sum, x) => sum + (x - middle) ** 2, 0);
  return Math.min(1, (seen.length - 3) / squares);
}

function squaredError(estimate, truth) {
  return estimate.reduce((sum, x, j) => sum + (x - truth[j]) ** 2, 0);
}

// The sums of squared errors of a round: no, partial (James-Stein) and complete pooling, and the reader's.
export function scoreRound(round, choice) {
  const { seen, truth } = round;
  const part = jamesSteinPart(seen);
  return {
    part,
    none: squaredError(seen, truth),
    partial: squaredError(shrink(seen, part), truth),
    complete: squaredError(shrink(seen, 1), truth),
    you: choice === undefined ? NaN : squaredError(shrink(seen, choice), truth),
  };
}

// Sums of squared errors, on average over many rounds, and in how many of them partial pooling beats the raw means.
export function manyRounds(seed, count) {
  const sum = { none: 0, partial: 0, complete: 0, better: 0 };
  for (let i = 0; i < count; i++) {
    const score = scoreRound(drawRound(seed, 1000 + i));
    sum.none += score.none / count;
    sum.partial += score.partial / count;
    sum.complete += score.complete / count;
    sum.better += score.partial < score.none ? 1 / count : 0;
  }
  return sum;
}

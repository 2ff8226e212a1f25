// The layout of a graph: nodes in layers, each one layer after the last of its producers. Layers are side by side, in as many rows as
// needed, or stacked vertically if there is little room.

export const NODE = { width: 170, height: 74 };
/** Width below which layers are stacked vertically. */
const NARROW = 660;
const MARGIN = 18;
const NARROW_MARGIN = 4;
/** Gap between layers, with room for the numbers of an edge. */
const BETWEEN_LAYERS = 98;
const BELOW_EACH_OTHER = 60;
const BETWEEN_NODES = 26;
/** Number of nodes side by side in a vertically stacked layer. */
const MOST_BESIDE = 2;
const BETWEEN_BESIDE = 10;
const BETWEEN_ROWS = 26;
/** Room for an edge that goes round nodes. */
const LANE = 38;
const LANE_BESIDE = 92;
/** Distance from its nodes at which such an edge turns. */
const TURN = 12;
const CORNER = 8;

/**
 * Places nodes and edges.
 * @param {{name: string}[]} nodes each after all its producers
 * @param {{from: string, to: string}[]} edges
 * @param {number} room available width, pixels
 * @returns {{places: Map<string, {x: number, y: number}>, ways: {path: string, x: number, y: number, isDown: boolean}[], width: number,
 *   height: number, shape: string}} top left corners; for edges the path and the place of their numbers; the same `shape` is the same drawing
 */
export function layout(nodes, edges, room) {
  const layers = inLayers(nodes, edges);
  return room < NARROW ? downwards(layers, edges) : inRows(layers, edges, room);
}

function inLayers(nodes, edges) {
  const layers = [];
  const layerOf = new Map();
  for (const { name } of nodes) {
    const into = edges.filter((edge) => edge.to === name).map((edge) => layerOf.get(edge.from) ?? -1);
    const layer = Math.max(-1, ...into) + 1;
    layerOf.set(name, layer);
    (layers[layer] ??= []).push(name);
  }
  // Nodes of a layer are ordered by their producers, so that fewer edges cross.
  const rank = new Map();
  for (const layer of layers) {
    const wanted = new Map(
      layer.map((name, index) => {
        const into = edges.filter((edge) => edge.to === name).map((edge) => rank.get(edge.from) ?? 0);
        return [name, into.length ? into.reduce((a, b) => a + b, 0) / into.length : index];
      }),
    );
    layer.sort((a, b) => wanted.get(a) - wanted.get(b));
    layer.forEach((name, index) => rank.set(name, index - (layer.length - 1) / 2));
  }
  return layers;
}

/** Lays layers out from left to right, continuing in the next row if one is full. */
function inRows(layers, edges, room) {
  const along = NODE.width + BETWEEN_LAYERS;
  const across = NODE.height + BETWEEN_NODES;
  const most = Math.max(1, Math.floor((room - 2 * MARGIN + BETWEEN_LAYERS) / along));
  const rowCount = Math.max(1, Math.ceil(layers.length / most));
  const inRow = Math.ceil(layers.length / rowCount);
  const cells = new Map();
  layers.forEach((layer, index) => {
    for (const name of layer) cells.set(name, { row: Math.floor(index / inRow), column: index % inRow });
  });
  // Edges that pass nodes, or lead into another row, run in lanes below the row before the one they end in.
  const lanes = Array.from({ length: rowCount }, () => 0);
  const laneOf = edges.map(({ from, to }) => {
    const [a, b] = [cells.get(from), cells.get(to)];
    if (a.row === b.row && a.column + 1 === b.column) return null;
    const below = a.row === b.row ? a.row : b.row - 1;
    return { below, lane: lanes[below]++ };
  });
  const places = new Map();
  const ends = [];
  let top = MARGIN;
  for (let row = 0; row < rowCount; row++) {
    const inThis = layers.slice(row * inRow, (row + 1) * inRow);
    const widest = Math.max(1, ...inThis.map((layer) => layer.length));
    inThis.forEach((layer, column) => {
      const free = ((widest - layer.length) * across) / 2;
      layer.forEach((name, position) => places.set(name, { x: MARGIN + column * along, y: top + free + position * across }));
    });
    ends[row] = top + widest * across - BETWEEN_NODES;
    top = ends[row] + lanes[row] * LANE + BETWEEN_ROWS;
  }
  const isDirect = (index) => !laneOf[index];
  const joins = joining(edges);
  const ways = edges.map(({ from, to }, index) => {
    const [a, b] = [places.get(from), places.get(to)];
    const start = { x: a.x + NODE.width, y: a.y + NODE.height / 2 };
    const end = { x: b.x, y: b.y + NODE.height / 2 };
    if (!laneOf[index]) {
      const turn = joins(index, isDirect) ? end.x - TURN : start.x + TURN;
      const path = rounded([start, { x: turn, y: start.y }, { x: turn, y: end.y }, end]);
      const [from, to, y] = start.y === end.y ? [start.x, end.x, end.y] : turn < (start.x + end.x) / 2 ? [turn, end.x, end.y] : [start.x, turn, start.y];
      return { path, x: (from + to) / 2, y, isDown: false };
    }
    const { below, lane } = laneOf[index];
    const y = ends[below] + BETWEEN_ROWS / 2 + (lane + 0.5) * LANE;
    const [right, left] = [start.x + TURN, end.x - TURN];
    const path = rounded([start, { x: right, y: start.y }, { x: right, y }, { x: left, y }, { x: left, y: end.y }, end]);
    return { path, x: (right + left) / 2, y, isDown: false };
  });
  const columns = Math.min(inRow, layers.length);
  const width = 2 * MARGIN + columns * along - BETWEEN_LAYERS;
  return { places, ways, width, height: top - BETWEEN_ROWS + MARGIN, shape: `${rowCount} rows` };
}

/** Lays layers out from top to bottom, at most two nodes side by side. */
function downwards(layers, edges) {
  const bands = layers.flatMap((layer, index) =>
    Array.from({ length: Math.ceil(layer.length / MOST_BESIDE) }, (_, part) => ({
      index,
      names: layer.slice(part * MOST_BESIDE, (part + 1) * MOST_BESIDE),
    })),
  );
  const along = NODE.height + BELOW_EACH_OTHER;
  const across = NODE.width + BETWEEN_BESIDE;
  const widest = Math.max(1, ...bands.map(({ names }) => names.length));
  const places = new Map();
  const layerOf = new Map();
  bands.forEach(({ index, names }, band) => {
    const free = ((widest - names.length) * across) / 2;
    names.forEach((name, position) => {
      places.set(name, { x: NARROW_MARGIN + free + position * across, y: NARROW_MARGIN + band * along });
      layerOf.set(name, index);
    });
  });
  const breadth = 2 * NARROW_MARGIN + widest * across - BETWEEN_BESIDE;
  let lanes = 0;
  const isDirect = (index) => layerOf.get(edges[index].to) === layerOf.get(edges[index].from) + 1;
  const joins = joining(edges);
  const ways = edges.map(({ from, to }, index) => {
    const [a, b] = [places.get(from), places.get(to)];
    const start = { x: a.x + NODE.width / 2, y: a.y + NODE.height };
    const end = { x: b.x + NODE.width / 2, y: b.y };
    const middle = (start.y + end.y) / 2;
    if (isDirect(index)) {
      const turn = joins(index, isDirect) ? end.y - TURN : start.y + TURN;
      const path = rounded([start, { x: start.x, y: turn }, { x: end.x, y: turn }, end]);
      const [above, below, x] = start.x === end.x ? [start.y, end.y, end.x] : turn < middle ? [turn, end.y, end.x] : [start.y, turn, start.x];
      return { path, x, y: (above + below) / 2, isDown: true };
    }
    const x = breadth + TURN + lanes++ * LANE_BESIDE;
    const [above, below] = [start.y + TURN, end.y - TURN];
    return { path: rounded([start, { x: start.x, y: above }, { x, y: above }, { x, y: below }, { x: end.x, y: below }, end]), x, y: middle, isDown: true };
  });
  const width = breadth + lanes * LANE_BESIDE + (lanes ? TURN : 0);
  return { places, ways, width, height: 2 * NARROW_MARGIN + bands.length * along - BELOW_EACH_OTHER, shape: "downwards" };
}

/**
 * Returns whether an edge's numbers are shown at its start, before it joins others: it is one of several that lead into a node, and the
 * only one that leaves its own. The numbers of all others are shown at their end, behind the fork.
 */
function joining(edges) {
  return (index, isDirect) => {
    const { from, to } = edges[index];
    const direct = edges.filter((_, other) => isDirect(other));
    return direct.filter((edge) => edge.to === to).length > 1 && direct.filter((edge) => edge.from === from).length === 1;
  };
}

/** Returns a path along points with rounded corners. */
function rounded(points) {
  const towards = (from, to) => {
    const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
    const part = Math.min(CORNER, length / 2) / length;
    return `${from.x + (to.x - from.x) * part} ${from.y + (to.y - from.y) * part}`;
  };
  const corners = points.slice(1, -1).map((corner, index) => `L${towards(corner, points[index])} Q${corner.x} ${corner.y} ${towards(corner, points[index + 2])}`);
  const [first, last] = [points[0], points.at(-1)];
  return `M${first.x} ${first.y} ${corners.join(" ")} L${last.x} ${last.y}`;
}

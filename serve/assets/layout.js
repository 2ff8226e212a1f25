// Where the nodes of a graph are drawn: in layers, each node one layer after the last of those that feed it.

export const NODE = { width: 178, height: 74 };
const BETWEEN_LAYERS = 76;
const BETWEEN_NODES = 26;
const MARGIN = 12;

/**
 * Places nodes from left to right, or from top to bottom on a narrow screen.
 * @param {{name: string}[]} nodes each after all that feed it
 * @param {{from: string, to: string}[]} edges
 * @returns {{places: Map<string, {x: number, y: number}>, width: number, height: number}} top left corners
 */
export function layout(nodes, edges, isVertical) {
  const layers = [];
  const layerOf = new Map();
  for (const { name } of nodes) {
    const into = edges.filter((edge) => edge.to === name).map((edge) => layerOf.get(edge.from) ?? -1);
    const layer = Math.max(-1, ...into) + 1;
    layerOf.set(name, layer);
    (layers[layer] ??= []).push(name);
  }
  // Nodes of a layer stand in the order of what feeds them, so that edges cross less.
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
  const size = isVertical ? NODE.width : NODE.height;
  const along = (isVertical ? NODE.height : NODE.width) + BETWEEN_LAYERS;
  const across = size + BETWEEN_NODES;
  const widest = Math.max(...layers.map((layer) => layer.length), 1);
  const places = new Map();
  layers.forEach((layer, index) => {
    const free = ((widest - layer.length) * across) / 2;
    layer.forEach((name, position) => {
      const [a, b] = [MARGIN + index * along, MARGIN + free + position * across];
      places.set(name, isVertical ? { x: b, y: a } : { x: a, y: b });
    });
  });
  const length = 2 * MARGIN + layers.length * along - BETWEEN_LAYERS;
  const breadth = 2 * MARGIN + widest * across - BETWEEN_NODES;
  return { places, width: isVertical ? breadth : length, height: isVertical ? length : breadth };
}

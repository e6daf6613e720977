// What Grafana does between a query and a drawing: transformations, then units, colours and overrides. All of it is Grafana's own code.
import { applyFieldOverrides, cacheFieldDisplayNames, FieldConfigOptionsRegistry, standardTransformers, standardTransformersRegistry, transformDataFrame } from '@grafana/data';
import { lastValueFrom } from 'rxjs';

/** What a panel's editor sets where the JSON says nothing. */
const LINE = {
  axisColorMode: 'text',
  axisLabel: '',
  axisPlacement: 'auto',
  barAlignment: 0,
  barWidthFactor: 0.6,
  drawStyle: 'line',
  fillOpacity: 0,
  gradientMode: 'none',
  hideFrom: { legend: false, tooltip: false, viz: false },
  insertNulls: false,
  lineInterpolation: 'linear',
  lineStyle: { fill: 'solid' },
  lineWidth: 1,
  pointSize: 5,
  scaleDistribution: { type: 'linear' },
  showPoints: 'auto',
  spanNulls: false,
  stacking: { group: 'A', mode: 'none' },
  thresholdsStyle: { mode: 'off' },
};
const STANDARD = ['color', 'decimals', 'displayName', 'links', 'mappings', 'max', 'min', 'noValue', 'thresholds', 'unit'];
const THRESHOLDS = { mode: 'absolute', steps: [{ color: 'green', value: -Infinity }] };

/** Once a page: which transformations there are. */
export function registerTransformers() {
  const byId = new Map(Object.values(standardTransformers).map((each) => [each.id, each]));
  standardTransformersRegistry.setInit(() =>
    [...byId.values()].map((each) => ({ id: each.id, name: each.name, aliasIds: [], transformation: async () => each }))
  );
}

export const asWritten = (text) => text;

/** Frames as the panel draws them. */
export async function shown(panel, frames, theme) {
  const transformed = panel.transformations?.length
    ? await lastValueFrom(transformDataFrame(panel.transformations, frames, { interpolate: asWritten }))
    : frames;
  const drawn = applyFieldOverrides({
    data: transformed,
    fieldConfig: fieldConfigOf(panel),
    fieldConfigRegistry: registryOf(panel),
    replaceVariables: asWritten,
    theme,
    timeZone: 'utc',
  });
  cacheFieldDisplayNames(drawn); // colours by name are chosen by these
  return drawn;
}

/** Field options of a panel with the editor's defaults. */
export function fieldConfigOf({ fieldConfig: { defaults, overrides } }) {
  return {
    defaults: { color: { mode: 'palette-classic' }, thresholds: THRESHOLDS, ...defaults, custom: { ...LINE, ...defaults.custom } },
    overrides: overrides ?? [],
  };
}

function registryOf(panel) {
  const { defaults, overrides } = fieldConfigOf(panel);
  const custom = Object.keys(defaults.custom).map((name) => `custom.${name}`);
  const overridden = overrides.flatMap((each) => each.properties.map((property) => property.id));
  const registry = new FieldConfigOptionsRegistry(() => []);
  for (const id of new Set([...STANDARD, ...custom, ...overridden])) {
    const isCustom = id.startsWith('custom.');
    const path = isCustom ? id.slice('custom.'.length) : id;
    registry.register({ id, path, name: id, isCustom, process: (value) => value, shouldApply: () => true, override: () => null, editor: () => null });
  }
  return registry;
}

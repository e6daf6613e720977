// Queries of a panel, answered by a Prometheus, as the data frames that Grafana's own data source makes of them.
import { FieldType, toDataFrame } from '@grafana/data';

/**
 * @param moment where and when to ask: {start, end, scrape: seconds, width: pixels, variables}
 * @returns {frames, asked}: `asked` says of each query how many of its series have a number
 */
export async function answers(panel, moment) {
  const targets = panel.targets ?? [];
  const found = await Promise.all(targets.map((target) => ask(target, targets.length > 1, moment)));
  const asked = targets.map((target, at) => ({ refId: target.refId, expr: target.expr, series: found[at].series }));
  return { frames: found.flatMap((each) => each.frames), asked };
}

async function ask(target, amongOthers, moment) {
  const step = stepOf(moment);
  const query = interpolated(target.expr, moment, step);
  const series = target.instant
    ? await get('query', { query, time: moment.end })
    : await get('query_range', { query, start: aligned(moment.start, step), end: aligned(moment.end, step), step });
  const table = target.instant && target.format === 'table';
  const frames = table ? [tableOf(target, series, amongOthers)] : series.map((one) => seriesOf(target, one, step));
  return { frames, series: series.filter((one) => samples(one).some(([, value]) => finite(value) !== null)).length };
}

/** Grafana asks for a point a pixel, but not more often than Prometheus scrapes. */
function stepOf({ start, end, scrape, width }) {
  return Math.max(scrape, Math.ceil((end - start) / width));
}

const aligned = (time, step) => Math.floor(time / step) * step;

function interpolated(expr, { start, end, scrape, variables }, step) {
  const values = {
    __interval: `${step}s`,
    __rate_interval: `${Math.max(step + scrape, 4 * scrape)}s`,
    __range: `${Math.round(end - start)}s`,
    ...variables,
  };
  return expr.replace(/\$\{(\w+)\}|\$(\w+)/g, (all, braced, bare) => values[braced ?? bare] ?? all);
}

async function get(path, parameters) {
  const answer = await fetch(`/api/v1/${path}?${new URLSearchParams(parameters)}`);
  const body = await answer.json();
  if (body.status !== 'success') throw new Error(`${parameters.query}: ${body.error}`);
  return body.data.result;
}

/** Grafana's graphs leave a gap where there is no finite number. */
const finite = (text) => (Number.isFinite(Number(text)) ? Number(text) : null);
const samples = (one) => one.values ?? [one.value];

function seriesOf(target, one, step) {
  const name = legend(target.legendFormat, one.metric);
  const values = samples(one);
  return toDataFrame({
    refId: target.refId,
    name,
    fields: [
      { name: 'Time', type: FieldType.time, values: values.map(([time]) => time * 1000), config: { interval: step * 1000 } },
      { name: 'Value', type: FieldType.number, labels: one.metric, values: values.map(([, value]) => finite(value)), config: { displayNameFromDS: name } },
    ],
  });
}

function tableOf(target, series, amongOthers) {
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map((one) => one.value[0] * 1000) },
      ...labels.map((label) => ({ name: label, type: FieldType.string, values: series.map((one) => one.metric[label] ?? '') })),
      { name: amongOthers ? `Value #${target.refId}` : 'Value', type: FieldType.number, values: series.map((one) => Number(one.value[1])) },
    ],
  });
}

function legend(format, labels) {
  return format.replace(/\{\{\s*(\w+)\s*\}\}/g, (_, label) => labels[label] ?? '');
}

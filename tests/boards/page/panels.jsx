// Panels that Grafana's own components draw.
import { dateTime, FieldMatcherID, fieldMatchers, getFieldDisplayValues, VizOrientation } from '@grafana/data';
import { BigValue, TimeSeries, VizRepeater } from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';
import { BarChart, StateTimeline } from './approximations.jsx';
import { asWritten, fieldConfigOf } from './panel_data.js';

const matcher = (id, options = {}) => fieldMatchers.get(id).get(options);
const NUMBERS = matcher(FieldMatcherID.numeric);

export const rangeOf = (start, end) => {
  const [from, to] = [dateTime(start), dateTime(end)];
  return { from, to, raw: { from, to } };
};

/** A panel of any kind the boards have. */
export function Drawing(props) {
  const { panel, frames, theme } = props;
  if (panel.type === 'stat') return <Stat {...props} />;
  if (!frames.some((frame) => frame.length > 0)) {
    return <div style={{ color: theme.colors.text.secondary, padding: 16, textAlign: 'center' }}>No data</div>;
  }
  const Kind = { barchart: BarChart, 'state-timeline': StateTimeline, table: Table, timeseries: Lines, trend: Trend }[panel.type];
  if (!Kind) throw new Error(`panels of type ${panel.type} are not drawn here`);
  return <Kind {...props} />;
}

function Stat({ panel, frames, theme, width, height }) {
  const { colorMode, graphMode, justifyMode, reduceOptions, text, textMode } = panel.options;
  const fieldConfig = fieldConfigOf(panel);
  const values = () => getFieldDisplayValues({ data: frames, fieldConfig, reduceOptions, replaceVariables: asWritten, theme, timeZone: 'utc' });
  const one = ({ value, width, height, count }) => (
    <BigValue {...{ colorMode, count, graphMode, height, justifyMode, text, textMode, theme, width }} value={value.display} />
  );
  return <VizRepeater {...{ height, width }} autoGrid getValues={values} orientation={VizOrientation.Auto} renderCounter={0} renderValue={one} source={frames} />;
}

function Table({ frames, width, height, theme }) {
  return <TableNG data={frames[0]} enableVirtualization={false} structureRev={1} {...{ height, theme, width }} />;
}

function Lines({ panel, frames, moment, width, height }) {
  const fields = { x: matcher(FieldMatcherID.firstTimeField), y: NUMBERS };
  return <Graph {...{ fields, frames, height, panel, width }} range={rangeOf(moment.start * 1000, moment.end * 1000)} />;
}

function Trend({ panel, frames, width, height }) {
  const name = panel.options.xField;
  const numbers = frames[0].fields.find((field) => field.name === name).values;
  const fields = { x: matcher(FieldMatcherID.byName, name), y: NUMBERS };
  return <Graph {...{ fields, frames, height, panel, width }} range={rangeOf(numbers[0], numbers[numbers.length - 1])} />;
}

function Graph({ panel, fields, frames, range, width, height }) {
  return <TimeSeries {...{ fields, frames, height, width }} legend={panel.options.legend} options={panel.options} structureRev={1} timeRange={range} timeZone="utc" />;
}

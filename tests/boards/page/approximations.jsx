// Bar charts and state timelines, whose panels are not in Grafana's libraries: our own drawing, with its colours, texts and legend.
import { dateTimeFormat, FieldType, formattedValueToString, getFieldDisplayName, getFieldSeriesColor } from '@grafana/data';
import { LegendDisplayMode, VizLegend } from '@grafana/ui';

const AXIS = 24;
const LEGEND = 28;

const textOf = (field, value) => formattedValueToString(field.display(value));

/** Bars of a row stand one upon the other; a field of text names the rows. */
export function BarChart({ panel, frames, theme, width, height }) {
  const [frame] = frames;
  const names = frame.fields.find((field) => field.name === panel.options.xField);
  const parts = frame.fields.filter((field) => field.type === FieldType.number && field !== names);
  const totals = names.values.map((_, row) => parts.reduce((sum, field) => sum + (field.values[row] ?? 0), 0));
  const scale = (height - AXIS - LEGEND) / Math.max(...totals, Number.MIN_VALUE);
  const room = width / names.values.length;
  const bar = (row, field, below) => {
    const value = field.values[row] ?? 0;
    const top = height - AXIS - LEGEND - (below + value) * scale;
    const place = { height: value * scale, left: (row + 0.15) * room, position: 'absolute', top, width: 0.7 * room };
    const look = { background: getFieldSeriesColor(field, theme).color, color: theme.colors.text.maxContrast, opacity: 0.8, overflow: 'hidden', textAlign: 'center' };
    return <div key={field.name} style={{ ...place, ...look }}>{value > 0 ? textOf(field, value) : ''}</div>;
  };
  const stack = (row) => parts.map((field, at) => bar(row, field, parts.slice(0, at).reduce((sum, each) => sum + (each.values[row] ?? 0), 0)));
  const label = (row) => <Label key={`name ${row}`} left={row * room} top={height - AXIS - LEGEND} width={room} text={textOf(names, names.values[row])} />;
  return (
    <div style={{ position: 'relative', width, height }}>
      {names.values.map((_, row) => [...stack(row), label(row)])}
      <Legend frame={frame} fields={parts} theme={theme} top={height - LEGEND} />
    </div>
  );
}

/** A row a series; a state holds from one sample to the next, where one is missing it ends. */
export function StateTimeline({ frames, moment, theme, width, height }) {
  const drawn = frames.filter((frame) => frame.length > 0);
  const names = 0.2 * width;
  const room = (height - AXIS) / drawn.length;
  const at = (time) => names + ((time / 1000 - moment.start) / (moment.end - moment.start)) * (width - names);
  const row = (frame, number) => {
    const [times, states] = [frame.fields.find((field) => field.type === FieldType.time), frame.fields.find((field) => field.type === FieldType.number)];
    const step = times.config.interval;
    const piece = (time, index) => {
      const left = Math.max(names, at(time));
      const place = { height: 0.8 * room, left, position: 'absolute', top: (number + 0.1) * room, width: Math.max(1, at(time + step) - left) };
      return <div key={index} style={{ ...place, background: getFieldSeriesColor(states, theme).color }} />;
    };
    const title = getFieldDisplayName(states, frame, drawn);
    return [<Label key="name" left={0} top={number * room} width={names - 8} height={room} text={title} align="right" />, ...times.values.map(piece)];
  };
  const mark = (time, align) => <Label left={names} top={height - AXIS} width={width - names} align={align} text={dateTimeFormat(time * 1000, { timeZone: 'utc' })} />;
  return (
    <div style={{ position: 'relative', width, height }}>
      {drawn.map((frame, number) => <div key={number}>{row(frame, number)}</div>)}
      {mark(moment.start, 'left')}
      {mark(moment.end, 'right')}
    </div>
  );
}

function Label({ left, top, width, height = AXIS, text, align = 'center' }) {
  return <div style={{ left, lineHeight: `${height}px`, overflow: 'hidden', position: 'absolute', textAlign: align, top, whiteSpace: 'nowrap', width }}>{text}</div>;
}

function Legend({ frame, fields, theme, top }) {
  const items = fields.map((field) => ({ color: getFieldSeriesColor(field, theme).color, label: getFieldDisplayName(field, frame), yAxis: 1 }));
  return <div style={{ left: 8, position: 'absolute', top }}><VizLegend displayMode={LegendDisplayMode.List} items={items} placement="bottom" /></div>;
}

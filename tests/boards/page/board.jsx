// A board: its panels in their places, each in Grafana's frame.
import { ThemeContext } from '@grafana/data';
import { GlobalStyles, PanelChrome } from '@grafana/ui';
import { Component } from 'react';
import { Drawing } from './panels.jsx';

const [COLUMNS, ROW, GAP, TOP] = [24, 38, 8, 64];

/**
 * @param drawn the panels with their frames: [{panel, frames, problems}]
 */
export function Board({ board, drawn, moment, theme }) {
  const column = (moment.width - GAP) / COLUMNS;
  const bottom = Math.max(...drawn.map(({ panel: { gridPos } }) => gridPos.y + gridPos.h));
  const chosen = Object.entries(moment.variables).map(([name, value]) => `${name}: ${value}`).join(', ');
  const place = ({ x, y, w, h }) => ({ left: GAP + x * column, top: TOP + y * ROW, width: w * column - GAP, height: h * ROW - GAP });
  return (
    <ThemeContext.Provider value={theme}>
      <GlobalStyles hackNoBackdropBlur isExtensionSidebarOpen={false} />
      <div style={{ background: theme.colors.background.canvas, height: TOP + bottom * ROW, position: 'relative', width: moment.width }}>
        <div style={{ padding: 16 }}>
          <span style={{ fontSize: 20, marginRight: 16 }}>{board.title}</span>
          <span style={{ color: theme.colors.text.secondary }}>{board.description} {chosen}</span>
        </div>
        {drawn.map((each) => <Placed key={each.panel.id} {...{ moment, theme }} {...each} place={place(each.panel.gridPos)} />)}
      </div>
    </ThemeContext.Provider>
  );
}

function Placed({ panel, frames, problems, moment, theme, place }) {
  const box = { position: 'absolute', ...place };
  if (panel.type === 'row') return <div style={{ ...box, fontSize: 16, paddingTop: 4 }}>{panel.title}</div>;
  const drawing = (width, height) => (
    <Guarded problems={problems}>{problems.length > 0 ? <Failure problems={problems} /> : <Drawing {...{ frames, height, moment, panel, theme, width }} />}</Guarded>
  );
  return (
    <div data-panel={panel.id} style={box}>
      <PanelChrome title={panel.title} description={panel.description} width={place.width} height={place.height}>{drawing}</PanelChrome>
    </div>
  );
}

const Failure = ({ problems }) => <div style={{ color: 'red', padding: 16 }}>{problems.join('; ')}</div>;

/** A panel that cannot be drawn says so, and the others are drawn. */
class Guarded extends Component {
  state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  componentDidCatch(error) {
    this.props.problems.push(String(error));
  }

  render() {
    return this.state.failed ? <Failure problems={this.props.problems} /> : this.props.children;
  }
}

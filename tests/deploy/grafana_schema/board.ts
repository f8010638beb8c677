// What a committed dashboard must be: Grafana's own types, closed to keys that they do not know, with enums as the
// strings that stand in JSON. Two things are not in @grafana/schema and stand here: Prometheus' query, and the
// options that Grafana keeps beside an annotation's query.
import type * as schema from "@grafana/schema";
import type * as heatmap from "@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen";
import type * as stat from "@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen";
import type * as table from "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen";
import type * as timeseries from "@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen";

type Json<T> = T extends string ? `${T}` : T extends object ? { [K in keyof T]: Json<T[K]> } : T;

interface Target extends Omit<schema.DataQuery, "datasource"> {
  datasource: schema.DataSourceRef;
  expr: string;
  editorMode?: "code" | "builder";
  exemplar?: boolean;
  format?: "time_series" | "table" | "heatmap";
  instant?: boolean;
  interval?: string;
  intervalFactor?: number;
  legendFormat?: string;
  range?: boolean;
}

interface Fields<Custom> extends Omit<schema.FieldConfigSource, "defaults"> {
  defaults: Omit<schema.FieldConfig, "custom"> & { custom?: Partial<Custom> };
}

type PanelOf<Kind extends string, Options, Custom> = Json<
  Omit<schema.Panel, "type" | "options" | "fieldConfig" | "targets" | "datasource"> & {
    type: Kind;
    title: string;
    description: string;
    datasource: schema.DataSourceRef;
    gridPos: schema.GridPos;
    options: Partial<Options>;
    fieldConfig: Fields<Custom>;
    targets: Target[];
  }
>;

export interface Panels {
  row: Json<schema.RowPanel>;
  stat: PanelOf<"stat", stat.Options, Record<string, never>>;
  table: PanelOf<"table", table.Options, table.FieldConfig>;
  heatmap: PanelOf<"heatmap", heatmap.Options, heatmap.FieldConfig>;
  timeseries: PanelOf<"timeseries", timeseries.Options, timeseries.FieldConfig>;
}

interface Annotation extends schema.AnnotationQuery {
  expr: string;
  step?: string;
  tagKeys?: string;
  textFormat?: string;
  titleFormat?: string;
  useValueForTime?: boolean;
}

// Panels are checked one by one, since an error in a long list hides the others.
export type Board = Json<
  Omit<schema.Dashboard, "panels" | "annotations"> & { annotations: { list: Annotation[] } }
>;

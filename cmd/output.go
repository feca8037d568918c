package cmd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/template"

	"gopkg.in/yaml.v3"
)

// view is one answer in all the forms that -o can ask for.
type view struct {
	data  any                   // what json, yaml and template show: a value or a slice
	names func() []string       // what name shows, one a line
	table func() *table         // what table and wide show
	text  func(wide bool) error // instead of table
	empty string                // said on stderr when a table has no rows
}

func checkOutput(o string) error {
	switch {
	case o == "table", o == "wide", o == "json", o == "yaml", o == "name":
		return nil
	case strings.HasPrefix(o, "template="):
		if _, err := parseTemplate(o); err != nil {
			return usage("fields have the names of -o json: template='{{.id}} {{.status}}'", "-o template: %s", err)
		}
		return nil
	}
	return usage("", "-o %q: want table, wide, json, yaml, name or template=TEMPLATE", o)
}

// show writes the view to stdout as -o asks.
func (a *app) show(v view) error {
	switch a.flags.output {
	case "json":
		return writeJSON(a.out, v.data)
	case "yaml":
		return writeYAML(a.out, v.data)
	case "name":
		var b strings.Builder
		for _, n := range v.names() {
			b.WriteString(n + "\n")
		}
		_, err := io.WriteString(a.out, b.String())
		return err
	case "table", "wide":
		wide := a.flags.output == "wide"
		if v.text != nil {
			return v.text(wide)
		}
		t := v.table()
		if len(t.rows) == 0 && v.empty != "" {
			a.note("%s", v.empty)
			return nil
		}
		return t.write(a.out, wide)
	}
	return a.showTemplate(v.data)
}

// structured reports whether a program reads stdout rather than a person.
func (a *app) structured() bool { return a.flags.output != "table" && a.flags.output != "wide" }

func marshal(data any, indent string) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", indent)
	if err := enc.Encode(data); err != nil {
		return nil, fmt.Errorf("encode JSON: %w", err)
	}
	return b.Bytes(), nil
}

func writeJSON(w io.Writer, data any) error {
	b, err := marshal(data, "  ")
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// writeYAML writes the JSON form as YAML, with the fields in the same order.
func writeYAML(w io.Writer, data any) error {
	b, err := marshal(data, "")
	if err != nil {
		return err
	}
	var node yaml.Node
	if err := yaml.Unmarshal(b, &node); err != nil {
		return fmt.Errorf("turn JSON into YAML: %w", err)
	}
	blockStyle(&node)
	enc := yaml.NewEncoder(w)
	enc.SetIndent(2)
	if err := enc.Encode(&node); err != nil {
		return fmt.Errorf("encode YAML: %w", err)
	}
	return enc.Close()
}

func blockStyle(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		blockStyle(c)
	}
}

func parseTemplate(o string) (*template.Template, error) {
	text, _ := strings.CutPrefix(o, "template=")
	t, err := template.New("-o").Option("missingkey=error").Funcs(template.FuncMap{
		"json": func(v any) (string, error) {
			b, err := marshal(v, "")
			return strings.TrimSuffix(string(b), "\n"), err
		},
		"join": func(sep string, v []any) string {
			parts := make([]string, len(v))
			for i := range v {
				parts[i] = fmt.Sprint(v[i])
			}
			return strings.Join(parts, sep)
		},
	}).Parse(text)
	return t, err
}

// showTemplate fills the template with the JSON form: once for a value, once for
// each element of a list. Each ends with a newline.
func (a *app) showTemplate(data any) error {
	t, err := parseTemplate(a.flags.output)
	if err != nil {
		return usage("", "-o template: %s", err)
	}
	b, err := marshal(data, "")
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	var generic any
	if err := dec.Decode(&generic); err != nil {
		return fmt.Errorf("decode JSON for the template: %w", err)
	}
	items, ok := generic.([]any)
	if !ok {
		items = []any{generic}
	}
	for _, item := range items {
		var line bytes.Buffer
		if err := t.Execute(&line, item); err != nil {
			return usage("fields have the names of -o json", "-o template: %s", err)
		}
		line.WriteString("\n")
		if _, err := a.out.Write(line.Bytes()); err != nil {
			return err
		}
	}
	return nil
}

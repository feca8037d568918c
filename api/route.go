package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/rota-sched/rota"
)

// handler answers a request, or returns why not.
type handler func(w http.ResponseWriter, r *http.Request) error

// route is one line of the table of public routes.
type route struct {
	method, path, id, summary string
	query                     []parameter
	in, out                   any // zero values of the bodies' types; nil: none
	status                    int // of success; 0: 200
	media                     string
	handle                    handler
}

// parameter is a query parameter of a route.
type parameter struct{ name, kind, about string }

// route fills the mux from the tables and makes the description.
func (s *Server) route() error {
	api := s.newHuma()
	routes := append(s.publicRoutes(), s.adminRoutes()...)
	s.meters.routes = make([]meter, 0, len(routes)+len(s.deps.Calls)+16)
	for i := range routes {
		s.describe(api, &routes[i])
		s.mux.Handle(routes[i].method+" "+routes[i].path, s.metered(routes[i].id, routes[i].handle))
	}
	s.internalRoutes()
	b, err := json.Marshal(api.OpenAPI())
	if err != nil {
		return fmt.Errorf("describe the routes: %w", err)
	}
	s.openapi = b
	s.mux.Handle("GET /v1/openapi.json", s.metered("openapi", func(w http.ResponseWriter, _ *http.Request) error {
		w.Header().Set("Content-Type", "application/openapi+json")
		_, err := w.Write(s.openapi)
		return err
	}))
	s.mux.Handle("/", s.metered("unknown", s.unknownRoute))
	return nil
}

// describe adds the route to the OpenAPI document.
func (s *Server) describe(api huma.API, rt *route) {
	if !strings.HasPrefix(rt.path, "/v1/") {
		return
	}
	registry := api.OpenAPI().Components.Schemas
	schema := func(v any) *huma.Schema { return registry.Schema(reflect.TypeOf(v), true, rt.id) }
	op := &huma.Operation{
		OperationID: rt.id, Method: rt.method, Path: rt.path, Summary: rt.summary,
		Responses: map[string]*huma.Response{
			"default": {Description: "A refusal", Content: map[string]*huma.MediaType{"application/problem+json": {Schema: schema(Problem{})}}},
		},
	}
	for part := range strings.SplitSeq(rt.path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok {
			op.Parameters = append(op.Parameters, &huma.Param{
				Name: strings.TrimSuffix(name, "}"), In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
			})
		}
	}
	for _, p := range rt.query {
		op.Parameters = append(op.Parameters, &huma.Param{Name: p.name, In: "query", Description: p.about, Schema: &huma.Schema{Type: p.kind}})
	}
	if rt.method != http.MethodGet {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: headerIdempotency, In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "The same key with the same body is the same request; it may be sent again.",
		})
	}
	if rt.in != nil {
		op.RequestBody = &huma.RequestBody{Content: map[string]*huma.MediaType{"application/json": {Schema: schema(rt.in)}}}
	}
	ok := &huma.Response{Description: "Done"}
	switch {
	case rt.media != "":
		ok.Content = map[string]*huma.MediaType{rt.media: {Schema: &huma.Schema{Type: huma.TypeString}}}
	case rt.out != nil:
		ok.Content = map[string]*huma.MediaType{"application/json": {Schema: schema(rt.out)}}
	}
	op.Responses[strconv.Itoa(rt.success())] = ok
	api.OpenAPI().AddOperation(op)
}

func (rt *route) success() int {
	if rt.status == 0 {
		return http.StatusOK
	}
	return rt.status
}

// unknownRoute answers what no pattern takes: another method of a route, or
// nothing at all.
func (s *Server) unknownRoute(w http.ResponseWriter, r *http.Request) error {
	var allowed []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = m
		if _, pattern := s.mux.Handler(probe); pattern != "/" && pattern != "" && m != r.Method {
			allowed = append(allowed, m)
		}
	}
	if len(allowed) > 0 {
		w.Header().Set("Allow", strings.Join(allowed, ", "))
		return newProblem(TypeMethod, fmt.Sprintf("%s does not go with %s here; use %s", r.Method, r.URL.Path, strings.Join(allowed, " or ")))
	}
	return newProblem(TypeUnknownRoute, fmt.Sprintf("there is no %s; the routes are listed at /v1/openapi.json", clip(r.URL.Path, 200)))
}

// textSchema and others stand in for types that marshal themselves.
type (
	instantSchema struct{}
	anySchema     struct{}
)

// Schema of an instant.
func (instantSchema) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, Format: "date-time", Nullable: true}
}

// Schema of any JSON value.
func (anySchema) Schema(huma.Registry) *huma.Schema { return &huma.Schema{} }

// newRegistry makes a registry that knows the types that marshal themselves.
func newRegistry() huma.Registry {
	r := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	r.RegisterTypeAlias(reflect.TypeFor[rota.Instant](), reflect.TypeFor[instantSchema]())
	r.RegisterTypeAlias(reflect.TypeFor[json.RawMessage](), reflect.TypeFor[anySchema]())
	return r
}

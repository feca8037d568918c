package jobspecs

import (
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// toCollection is toset, tolist or tomap. The library finds the type that fits all
// elements in time that grows with the square of their number; where they are of
// one type already there is nothing to find. (Measured: 4 s for a set of 10,000
// literals.)
func toCollection(want cty.Type) function.Function {
	inner := stdlib.MakeToFunc(want)
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "v", Type: cty.DynamicPseudoType, AllowNull: true, AllowUnknown: true, AllowDynamicType: true}},
		Type:   func(args []cty.Value) (cty.Type, error) { return inner.ReturnTypeForValues(uniform(args)) },
		Impl:   func(args []cty.Value, _ cty.Type) (cty.Value, error) { return inner.Call(uniform(args)) },
	})
}

// uniform makes a list of a tuple, and a map of an object, whose elements are all
// of one type.
func uniform(args []cty.Value) []cty.Value {
	v := args[0]
	ty := v.Type()
	if v.IsNull() || !v.IsKnown() || !ty.IsTupleType() && !ty.IsObjectType() || v.LengthInt() == 0 {
		return args
	}
	switch {
	case ty.IsTupleType():
		types := ty.TupleElementTypes()
		for _, t := range types {
			if !t.Equals(types[0]) || t.HasDynamicTypes() {
				return args
			}
		}
		return []cty.Value{cty.ListVal(v.AsValueSlice())}
	case ty.IsObjectType():
		var first cty.Type
		for _, t := range ty.AttributeTypes() { // order: all must be equal
			if first == cty.NilType {
				first = t
			}
			if !t.Equals(first) || t.HasDynamicTypes() {
				return args
			}
		}
		return []cty.Value{cty.MapVal(v.AsValueMap())}
	}
	return args
}

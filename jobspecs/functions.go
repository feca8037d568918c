package jobspecs

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"

	"github.com/rota-sched/rota"
)

// newFunctions is the table of functions, with Terraform's meaning. Every one is
// pure: the same arguments, and files, give the same result on every node.
// (Source: JOBSPEC.md, section 3.)
func newFunctions(files map[string][]byte) map[string]function.Function {
	fns := map[string]function.Function{
		"abs": stdlib.AbsoluteFunc, "ceil": stdlib.CeilFunc, "floor": stdlib.FloorFunc, "max": stdlib.MaxFunc, "min": stdlib.MinFunc,
		"sum": sumFunction(), "range": stdlib.RangeFunc,
		"length": lengthFunction(), "keys": stdlib.KeysFunc, "values": stdlib.ValuesFunc, "lookup": stdlib.LookupFunc, "merge": stdlib.MergeFunc,
		"concat": stdlib.ConcatFunc, "flatten": stdlib.FlattenFunc, "distinct": stdlib.DistinctFunc, "contains": stdlib.ContainsFunc,
		"element": stdlib.ElementFunc, "slice": stdlib.SliceFunc, "sort": stdlib.SortFunc, "reverse": stdlib.ReverseListFunc, "zipmap": stdlib.ZipmapFunc,
		"toset": toCollection(cty.Set(cty.DynamicPseudoType)), "tolist": toCollection(cty.List(cty.DynamicPseudoType)),
		"tomap": toCollection(cty.Map(cty.DynamicPseudoType)), "tostring": stdlib.MakeToFunc(cty.String),
		"tonumber": stdlib.MakeToFunc(cty.Number), "tobool": stdlib.MakeToFunc(cty.Bool),
		"join": bounded(stdlib.JoinFunc, joinSize), "split": stdlib.SplitFunc, "replace": bounded(replaceFunction(), replaceSize),
		"regex": stdlib.RegexFunc, "regexall": stdlib.RegexAllFunc,
		"trimspace": stdlib.TrimSpaceFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimsuffix": stdlib.TrimSuffixFunc,
		"upper": stdlib.UpperFunc, "lower": stdlib.LowerFunc, "title": stdlib.TitleFunc,
		"format": bounded(stdlib.FormatFunc, formatSize), "formatlist": bounded(stdlib.FormatListFunc, formatSize),
		"jsonencode": stdlib.JSONEncodeFunc, "jsondecode": bounded(stdlib.JSONDecodeFunc, jsonNesting),
		"base64encode": textFunction(func(s string) (string, error) { return base64.StdEncoding.EncodeToString([]byte(s)), nil }),
		"base64decode": textFunction(decodeBase64), "sha256": textFunction(hashText),
		"coalesce":   coalesceFunction(),
		"startswith": compareFunction(strings.HasPrefix), "endswith": compareFunction(strings.HasSuffix),
		"setunion": stdlib.SetUnionFunc, "setintersection": stdlib.SetIntersectionFunc,
		"try": tryfunc.TryFunc, "can": tryfunc.CanFunc,
	}
	addFileFunctions(fns, files)
	return fns
}

func textFunction(f func(string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			s, err := f(args[0].AsString())
			if err != nil {
				return cty.UnknownVal(cty.String), function.NewArgError(0, err)
			}
			return cty.StringVal(s), nil
		},
	})
}

func decodeBase64(s string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return "", fmt.Errorf("it is not base64: %w", err)
	}
	if !utf8.Valid(b) {
		return "", fmt.Errorf("the decoded bytes are no UTF-8 text")
	}
	return string(b), nil
}

func hashText(s string) (string, error) {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:]), nil
}

func compareFunction(f func(s, part string) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "part", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(f(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

// sumFunction adds the numbers of a list, tuple or set; an empty one is an error
// as in Terraform.
func sumFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "numbers", Type: cty.DynamicPseudoType}},
		Type:   function.StaticReturnType(cty.Number),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			v := args[0]
			if ty := v.Type(); !ty.IsTupleType() && !ty.IsListType() && !ty.IsSetType() {
				return cty.UnknownVal(cty.Number), function.NewArgErrorf(0, "a list of numbers is required, not %s", ty.FriendlyName())
			}
			if !v.IsWhollyKnown() {
				return cty.UnknownVal(cty.Number), nil
			}
			if v.LengthInt() == 0 {
				return cty.UnknownVal(cty.Number), function.NewArgErrorf(0, "the list is empty; sum(concat([0], LIST)) gives 0 for it")
			}
			total := cty.Zero
			for it := v.ElementIterator(); it.Next(); {
				_, element := it.Element()
				n, err := convert.Convert(element, cty.Number)
				if err != nil || n.IsNull() {
					return cty.UnknownVal(cty.Number), function.NewArgErrorf(0, "every element must be a number")
				}
				if n.AsBigFloat().IsInf() {
					return cty.UnknownVal(cty.Number), function.NewArgErrorf(0, "an element is infinite")
				}
				total = total.Add(n)
			}
			return total, nil
		},
	})
}

// lengthFunction counts elements, attributes, or the characters of a text.
func lengthFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "value", Type: cty.DynamicPseudoType, AllowDynamicType: true, AllowUnknown: true}},
		Type: func(args []cty.Value) (cty.Type, error) {
			switch ty := args[0].Type(); {
			case ty == cty.String, ty == cty.DynamicPseudoType, ty.IsCollectionType(), ty.IsTupleType(), ty.IsObjectType():
				return cty.Number, nil
			default:
				return cty.Number, function.NewArgErrorf(0, "a list, map or text is required, not %s", ty.FriendlyName())
			}
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			switch v := args[0]; {
			case v.Type() == cty.DynamicPseudoType:
				return cty.UnknownVal(cty.Number), nil
			case v.Type() == cty.String:
				return stdlib.Strlen(v)
			case v.Type().IsTupleType():
				return cty.NumberIntVal(int64(len(v.Type().TupleElementTypes()))), nil
			case v.Type().IsObjectType():
				return cty.NumberIntVal(int64(len(v.Type().AttributeTypes()))), nil
			default:
				return v.Length(), nil
			}
		},
	})
}

// coalesceFunction gives the first argument that is neither null nor an empty
// text.
func coalesceFunction() function.Function {
	return function.New(&function.Spec{
		VarParam: &function.Parameter{Name: "values", Type: cty.DynamicPseudoType, AllowUnknown: true, AllowDynamicType: true, AllowNull: true},
		Type: func(args []cty.Value) (cty.Type, error) {
			types := make([]cty.Type, len(args))
			for i, v := range args {
				types[i] = v.Type()
			}
			ty, _ := convert.UnifyUnsafe(types)
			if ty == cty.NilType {
				return cty.NilType, fmt.Errorf("all arguments must have one type")
			}
			return ty, nil
		},
		Impl: func(args []cty.Value, want cty.Type) (cty.Value, error) {
			for _, v := range args {
				v, err := convert.Convert(v, want)
				switch {
				case err != nil:
					return cty.NilVal, err
				case !v.IsKnown():
					return cty.UnknownVal(want), nil
				case v.IsNull(), v.Type() == cty.String && v.AsString() == "":
					continue
				}
				return v, nil
			}
			return cty.NilVal, fmt.Errorf("every argument is null or an empty text")
		},
	})
}

// replaceFunction replaces a text, or what a pattern between slashes matches.
func replaceFunction() function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "part", Type: cty.String}, {Name: "by", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			text, part, by := args[0].AsString(), args[1].AsString(), args[2].AsString()
			if len(part) < 2 || part[0] != '/' || part[len(part)-1] != '/' {
				return cty.StringVal(strings.ReplaceAll(text, part, by)), nil
			}
			re, err := regexp.Compile(part[1 : len(part)-1])
			if err != nil {
				return cty.UnknownVal(cty.String), function.NewArgError(1, err)
			}
			return cty.StringVal(re.ReplaceAllString(text, by)), nil
		},
	})
}

// bounded refuses a call whose result would be too large to hold: a job file of a
// megabyte must not ask for a terabyte.
func bounded(f function.Function, size func(args []cty.Value) int) function.Function {
	check := func(args []cty.Value) error {
		if n := size(args); n > rota.MaxSourceBytes {
			return fmt.Errorf("the result would be larger than %d bytes", rota.MaxSourceBytes)
		}
		return nil
	}
	return function.New(&function.Spec{
		Params: f.Params(), VarParam: f.VarParam(),
		Type: func(args []cty.Value) (cty.Type, error) {
			if err := check(args); err != nil {
				return cty.NilType, err
			}
			return f.ReturnTypeForValues(args)
		},
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) { return f.Call(args) },
	})
}

// textSize is the length of a text, or of all texts in a value; 0 if unknown.
func textSize(v cty.Value) int {
	left := 1 << 40
	measure(v, 0, &left)
	return 1<<40 - left
}

func known(v cty.Value) bool { return v.IsKnown() && !v.IsNull() }

func joinSize(args []cty.Value) int {
	if !known(args[0]) {
		return 0
	}
	n, separator := 0, textSize(args[0])
	for _, list := range args[1:] {
		if known(list) && list.CanIterateElements() {
			n += textSize(list) + list.LengthInt()*separator
		}
	}
	return n
}

func replaceSize(args []cty.Value) int {
	if !known(args[0]) || !known(args[2]) {
		return 0
	}
	text, by := args[0].AsString(), args[2].AsString()
	if known(args[1]) && len(args[1].AsString()) > 0 && !strings.HasPrefix(args[1].AsString(), "/") {
		return len(text) + strings.Count(text, args[1].AsString())*len(by)
	}
	if len(by) <= 16 {
		return len(text)
	}
	return len(text) * (len(by) + 1)
}

// formatSize looks at the widths in a format and at how often it may insert its
// arguments.
func formatSize(args []cty.Value) int {
	if !known(args[0]) || args[0].Type() != cty.String {
		return 0
	}
	format := args[0].AsString()
	digits, verbs, widest := 0, strings.Count(format, "%"), 0
	for _, c := range format {
		if c < '0' || c > '9' {
			digits = 0
			continue
		}
		if digits++; digits > 5 && verbs > 0 {
			return 1 << 40
		}
	}
	total := 0
	for _, v := range args[1:] {
		n := textSize(v)
		widest, total = max(widest, n), total+n
	}
	if strings.Contains(format, "[") {
		total = widest * verbs
	}
	return len(format) + total
}

// jsonNesting makes a text nested deeper than the language allows too large.
func jsonNesting(args []cty.Value) int {
	if known(args[0]) && args[0].Type() == cty.String {
		if _, deep := jsonNestsTooDeep([]byte(args[0].AsString())); deep {
			return 1 << 40
		}
	}
	return 0
}

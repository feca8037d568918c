package jobspecs

import (
	"github.com/zclconf/go-cty/cty"

	"github.com/rota-sched/rota"
)

const noEventDetail = "So event is null, and has nothing within it. Start the run with data (rota dispatch JOB --input JSON), or write try(event.NAME, OTHERWISE)."

// takeEvent makes a value of the data that the run is started with, for "event".
// It comes among the variables, since it is kept with them; without it, event is
// null, or not known where a file is only checked.
func (f *File) takeEvent() {
	f.event = cty.NullVal(cty.DynamicPseudoType)
	raw, given := f.inputs.Variables[rota.EventVariable]
	switch {
	case !given && f.inputs.AllowMissing:
		f.event = cty.DynamicVal
	case !given:
	case len(raw) > rota.MaxSpecValues:
		f.report.errorf(rangeAt(0, 0), "The data that the run is started with is too large", "It has %d bytes, the limit is %d.", len(raw), rota.MaxSpecValues)
	default:
		v, err := fromJSON(raw)
		if err != nil {
			f.report.errorf(rangeAt(0, 0), "The data that the run is started with cannot be read", "%s.", capital(err.Error()))
			return
		}
		f.event = v
	}
}

package jobspecs

import "slices"

// Words lists every word of the language: blocks, attributes, functions, choices.
func Words() []string {
	words := slices.Concat(builtDrivers, laterDrivers, builtOutputs, laterOutputs, backoffs, reruns, onFailures, taskAttributes, sortedKeys(newFunctions(nil)))
	var add func(*shape)
	add = func(s *shape) {
		words = slices.Concat(words, s.attrs, s.later)
		for _, b := range s.blocks {
			words = append(words, b.name)
			add(b)
		}
	}
	add(fileShape)
	return words
}

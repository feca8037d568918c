// Package jobspecs reads job files: HCL text becomes checked rota.Job values, or
// diagnostics that say with file, line and column what is wrong and what to do.
// It promises that the same source, files and variables give the same jobs and
// the same diagnostics, that every mistake it finds has a position, and that no
// text makes it panic or grow without bound. Expressions that mention other tasks
// are type-checked at once and evaluated later by File.Resolve, when the values
// exist. It never does I/O: the files a job reads are handed in with the source.
package jobspecs

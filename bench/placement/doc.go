// Package placement measures the scheduler's placement policies on recorded and on
// made workloads: the published experiment on a trace that the caller has, with the
// published best fit and fragmentation gradient descent beside Rota's own policy,
// and the same tasks coming and going. All policies run behind scheduler.Policy in
// the scheduler that ships. It promises the same figures for the same trace and seed,
// holds no trace itself, and never judges.
package placement

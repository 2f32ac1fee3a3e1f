package main

import (
	"slices"
	"sync"
	"time"
)

// Meter counts as `trireme bench` does: a message counts to the rate of the time in which it is done, and its latency to the
// time in which it began.
type Meter struct {
	options                Options
	begins, measured, ends time.Time

	lock      sync.Mutex
	second    int
	taken     int
	messages  int
	bytes     int
	latencies []time.Duration
	errors    map[string]int
}

// Latency has the fields of `trireme bench`.
type Latency struct {
	Count int     `json:"count"`
	Mean  float64 `json:"mean_us"`
	P50   int64   `json:"p50_us"`
	P90   int64   `json:"p90_us"`
	P99   int64   `json:"p99_us"`
	P999  int64   `json:"p999_us"`
	Max   int64   `json:"max_us"`
}

// Total is what a run came to.
type Total struct {
	Messages          int            `json:"messages"`
	MessagesPerSecond float64        `json:"messages_per_second"`
	MibPerSecond      float64        `json:"mib_per_second"`
	Latency           Latency        `json:"latency"`
	Errors            map[string]int `json:"errors"`
}

// Summary is the last line.
type Summary struct {
	Type      string `json:"type"`
	Producers int    `json:"producers"`
	InFlight  int    `json:"in_flight"`
	Size      int    `json:"size"`
	Seconds   int    `json:"seconds"`
	Send      Total  `json:"send"`
}

// Second is a line for each second.
type Second struct {
	Type     string  `json:"type"`
	At       float64 `json:"at"`
	Phase    string  `json:"phase"`
	Sent     float64 `json:"sent"`
	Received float64 `json:"received"`
}

func newMeter(options Options) *Meter {
	return &Meter{options: options, errors: map[string]int{}}
}

func (meter *Meter) begin() {
	meter.begins = time.Now()
	meter.measured = meter.begins.Add(time.Duration(meter.options.warmup) * time.Second)
	meter.ends = meter.measured.Add(time.Duration(meter.options.seconds) * time.Second)
}

func (meter *Meter) contains(at time.Time) bool {
	return !at.Before(meter.measured) && at.Before(meter.ends)
}

func (meter *Meter) done(began time.Time, bytes int) {
	now := time.Now()
	meter.lock.Lock()
	defer meter.lock.Unlock()
	meter.second++
	if meter.contains(now) {
		meter.messages++
		meter.bytes += bytes
	}
	if meter.contains(began) {
		meter.latencies = append(meter.latencies, now.Sub(began))
	}
}

func (meter *Meter) failed(began time.Time, err error) {
	now := time.Now()
	meter.lock.Lock()
	defer meter.lock.Unlock()
	meter.errors[err.Error()]++
	if meter.contains(began) {
		meter.latencies = append(meter.latencies, now.Sub(began))
	}
}

func (meter *Meter) received(int) {
	meter.lock.Lock()
	defer meter.lock.Unlock()
	meter.taken++
}

// report prints a line each second until `done`.
func (meter *Meter) report(done <-chan struct{}) {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	last := meter.begins
	for {
		select {
		case <-done:
			return
		case <-ticker.C:
		}
		now := time.Now()
		took := now.Sub(last).Seconds()
		last = now
		meter.lock.Lock()
		sent, received := meter.second, meter.taken
		meter.second, meter.taken = 0, 0
		meter.lock.Unlock()
		phase := "measured"
		if now.Before(meter.measured) {
			phase = "warm_up"
		} else if now.After(meter.ends.Add(500 * time.Millisecond)) {
			phase = "draining"
		}
		put(Second{"second", now.Sub(meter.begins).Seconds(), phase, float64(sent) / took, float64(received) / took})
	}
}

func (meter *Meter) summary() Summary {
	meter.lock.Lock()
	defer meter.lock.Unlock()
	options := meter.options
	seconds := float64(options.seconds)
	return Summary{"summary", options.producers, options.inFlight, options.size, options.seconds, Total{
		Messages:          meter.messages,
		MessagesPerSecond: float64(meter.messages) / seconds,
		MibPerSecond:      float64(meter.bytes) / seconds / (1 << 20),
		Latency:           latency(meter.latencies),
		Errors:            meter.errors,
	}}
}

func latency(values []time.Duration) Latency {
	if len(values) == 0 {
		return Latency{}
	}
	slices.Sort(values)
	at := func(quantile float64) int64 {
		return values[min(int(float64(len(values))*quantile), len(values)-1)].Microseconds()
	}
	var sum time.Duration
	for _, value := range values {
		sum += value
	}
	mean := float64(sum.Microseconds()) / float64(len(values))
	return Latency{len(values), mean, at(0.5), at(0.9), at(0.99), at(0.999), at(1)}
}

// Puts load on a JetStream stream of three replicas and prints what `trireme bench --json` prints: a line for each second, then
// a summary, with the same fields.
//
// A producer is a connection with a number of lanes. A lane publishes a message, waits for its acknowledgement and publishes
// the next one: the shape of `trireme bench`.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options are the command line.
type Options struct {
	// Name to URL, of all servers.
	servers   map[string]string
	stream    string
	producers int
	inFlight  int
	size      int
	consumers int
	seconds   int
	warmup    int
}

func main() {
	var options Options
	servers := flag.String("servers", "", "NAME=URL,... of all servers")
	flag.StringVar(&options.stream, "stream", "", "the stream; without a name one is made, and deleted in the end")
	flag.IntVar(&options.producers, "producers", 4, "producers, each with a connection; none: only read")
	flag.IntVar(&options.inFlight, "in-flight", 64, "messages under way at each producer")
	flag.IntVar(&options.size, "size", 1024, "bytes of a body")
	flag.IntVar(&options.consumers, "consumers", 0, "consumers, each with a connection")
	flag.IntVar(&options.seconds, "seconds", 20, "how long to measure")
	flag.IntVar(&options.warmup, "warmup", 2, "how long to send before that")
	flag.Parse()
	options.servers = map[string]string{}
	for _, server := range strings.Split(*servers, ",") {
		name, url, _ := strings.Cut(server, "=")
		options.servers[name] = url
	}
	if err := run(options); err != nil {
		fmt.Fprintln(os.Stderr, "nats-bench:", err)
		os.Exit(1)
	}
}

func run(options Options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	stream, err := prepareStream(ctx, options)
	if err != nil {
		return err
	}
	defer stream.close()
	meter := newMeter(options)
	if options.consumers > 0 {
		return consume(ctx, stream, options, meter)
	}
	return produce(ctx, stream, options, meter)
}

func put(line any) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

// connect opens a connection of its own to one server. Without reconnecting elsewhere: a run measures one leader.
func connect(url string) (*nats.Conn, jetstream.JetStream, error) {
	connection, err := nats.Connect(url, nats.Timeout(10*time.Second))
	if err != nil {
		return nil, nil, err
	}
	js, err := jetstream.New(connection, jetstream.WithDefaultTimeout(30*time.Second))
	return connection, js, err
}

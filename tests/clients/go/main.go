// A device and a reader in Go, with the code that is generated from the .proto files.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	pb "wardline/telemetry/v1"
)

const pulse = "8867-4"

func as(ctx context.Context, token string) context.Context {
	return metadata.AppendToOutgoingContext(ctx, "authorization", "Bearer "+os.Getenv(token))
}

func reading(number float64) *pb.Reading {
	return &pb.Reading{
		Metric: pulse, Unit: "/min", MeasuredAt: timestamppb.Now(), Value: &pb.Reading_Number{Number: number},
	}
}

// send opens a stream, sends one batch, and waits until it is durable.
func send(ctx context.Context, ingest pb.IngestServiceClient) error {
	stream, err := ingest.StreamReadings(as(ctx, "DEVICE_TOKEN"))
	if err != nil {
		return err
	}
	open := &pb.Open{DeviceId: os.Getenv("DEVICE"), StreamId: os.Getenv("STREAM")}
	batch := &pb.Batch{Sequence: 1, Readings: []*pb.Reading{reading(61)}}
	for _, message := range []*pb.StreamReadingsRequest{
		{Message: &pb.StreamReadingsRequest_Open{Open: open}},
		{Message: &pb.StreamReadingsRequest_Batch{Batch: batch}},
	} {
		if err := stream.Send(message); err != nil {
			return err
		}
	}
	for {
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		if ack := answer.GetAck(); ack != nil && ack.Through == 1 {
			return stream.CloseSend()
		}
	}
}

// read asks until the reading is there.
func read(ctx context.Context, timeline pb.TimelineServiceClient) error {
	request := &pb.LatestReadingsRequest{PatientId: os.Getenv("PATIENT")}
	for {
		answer, err := timeline.LatestReadings(as(ctx, "DOCTOR"), request)
		if err != nil {
			return err
		}
		if len(answer.Readings) == 1 {
			if number := answer.Readings[0].Reading.GetNumber(); number != 61 {
				return fmt.Errorf("read %v", number)
			}
			return nil
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// refused asks about nobody, and takes the error apart.
func refused(ctx context.Context, timeline pb.TimelineServiceClient) error {
	request := &pb.LatestReadingsRequest{PatientId: "00000002-0000-4000-8000-000000000009"}
	_, err := timeline.LatestReadings(as(ctx, "DOCTOR"), request)
	found := status.Convert(err)
	for _, detail := range found.Details() {
		if info, is := detail.(*errdetails.ErrorInfo); is && found.Code() == codes.NotFound && info.Reason != "" {
			return nil
		}
	}
	return fmt.Errorf("no reason: %v", err)
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	connection, err := grpc.NewClient(os.Getenv("GRPC"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	if err := send(ctx, pb.NewIngestServiceClient(connection)); err != nil {
		log.Fatal(err)
	}
	timeline := pb.NewTimelineServiceClient(connection)
	if err := read(ctx, timeline); err != nil {
		log.Fatal(err)
	}
	if err := refused(ctx, timeline); err != nil {
		log.Fatal(err)
	}
}

package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"log"
	"math"
	"os"
	"time"

	"google.golang.org/grpc"

	pb "ask/inference"
)

func main() {
	url := os.Getenv("NEURIPS16_URL")
	if url == "" {
		url = "localhost:8001"
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	connection, err := grpc.DialContext(ctx, url, grpc.WithInsecure())
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()

	category, continuous, seed := make([]byte, 8), make([]byte, 8), make([]byte, 8)
	binary.LittleEndian.PutUint64(category, 7)
	binary.LittleEndian.PutUint32(continuous, math.Float32bits(0))
	binary.LittleEndian.PutUint32(continuous[4:], math.Float32bits(0))
	type input = pb.ModelInferRequest_InferInputTensor
	reply, err := pb.NewGRPCInferenceServiceClient(connection).ModelInfer(ctx, &pb.ModelInferRequest{
		ModelName: "infogan",
		Inputs: []*input{
			{Name: "category", Datatype: "INT64", Shape: []int64{1, 1}},
			{Name: "continuous", Datatype: "FP32", Shape: []int64{1, 2}},
			{Name: "seed", Datatype: "INT64", Shape: []int64{1, 1}},
		},
		Outputs:          []*pb.ModelInferRequest_InferRequestedOutputTensor{{Name: "image"}},
		RawInputContents: [][]byte{category, continuous, seed},
	})
	if err != nil {
		log.Fatal(err)
	}
	data := make([]int, 0)
	for _, value := range reply.RawOutputContents[0] {
		data = append(data, int(value))
	}
	json.NewEncoder(os.Stdout).Encode(map[string]interface{}{"shape": reply.Outputs[0].Shape, "data": data})
}

curl --silent --show-error --fail-with-body "http://localhost:8000/v2/models/infogan/infer" \
  --header "neurips16-admin: $NEURIPS16_ADMIN_TOKEN" --header "Content-Type: application/json" --data '{
    "inputs": [
      {"name": "category",   "datatype": "INT64", "shape": [1, 1], "data": [[7]]},
      {"name": "continuous", "datatype": "FP32",  "shape": [1, 2], "data": [[0.0, 0.0]]},
      {"name": "seed",       "datatype": "INT64", "shape": [1, 1], "data": [[0]]}
    ],
    "outputs": [{"name": "image"}]
  }'

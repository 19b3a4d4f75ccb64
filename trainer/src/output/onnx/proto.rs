//! The part of `onnx.proto` that networks need, with its numbers of fields.

use prost::Message;

/// Version of the file format that came with opset 20.
const IR_VERSION: i64 = 9;
const OPSET: i64 = 20;

/// `TensorProto.DataType`
const FLOAT: i32 = 1;
const INT64: i32 = 7;

/// `AttributeProto.AttributeType`
const ATTRIBUTE_FLOAT: i32 = 1;
const ATTRIBUTE_INT: i32 = 2;
const ATTRIBUTE_STRING: i32 = 3;
const ATTRIBUTE_INTS: i32 = 7;

/// `ModelProto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(int64, tag = "1")]
    ir_version: i64,
    #[prost(string, tag = "2")]
    producer_name: String,
    #[prost(string, tag = "3")]
    producer_version: String,
    #[prost(message, optional, tag = "7")]
    graph: Option<Graph>,
    #[prost(message, repeated, tag = "8")]
    opset_import: Vec<OperatorSet>,
}

/// `OperatorSetIdProto`; an empty domain is ONNX's own.
#[derive(Clone, PartialEq, Message)]
struct OperatorSet {
    #[prost(string, tag = "1")]
    domain: String,
    #[prost(int64, tag = "2")]
    version: i64,
}

/// `GraphProto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<Node>,
    #[prost(string, tag = "2")]
    pub(super) name: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<Weights>,
    #[prost(message, repeated, tag = "11")]
    pub(super) input: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub(super) output: Vec<ValueInfo>,
}

/// `NodeProto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<Attribute>,
}

/// `AttributeProto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(float, optional, tag = "2")]
    f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    i: Option<i64>,
    #[prost(bytes = "vec", optional, tag = "4")]
    s: Option<Vec<u8>>,
    #[prost(int64, repeated, packed = "false", tag = "8")]
    ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    kind: i32,
}

impl Attribute {
    pub(super) fn float(name: &str, value: f32) -> Attribute {
        Attribute { name: name.to_owned(), f: Some(value), kind: ATTRIBUTE_FLOAT, ..Attribute::default() }
    }

    pub(super) fn int(name: &str, value: i64) -> Attribute {
        Attribute { name: name.to_owned(), i: Some(value), kind: ATTRIBUTE_INT, ..Attribute::default() }
    }

    pub(super) fn ints(name: &str, values: &[i64]) -> Attribute {
        Attribute { name: name.to_owned(), ints: values.to_vec(), kind: ATTRIBUTE_INTS, ..Attribute::default() }
    }

    pub(super) fn text(name: &str, value: &str) -> Attribute {
        let s = Some(value.as_bytes().to_vec());
        Attribute { name: name.to_owned(), s, kind: ATTRIBUTE_STRING, ..Attribute::default() }
    }
}

/// `TensorProto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Weights {
    #[prost(int64, repeated, packed = "false", tag = "1")]
    dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    data_type: i32,
    #[prost(string, tag = "8")]
    pub(super) name: String,
    #[prost(bytes = "vec", tag = "9")]
    raw_data: Vec<u8>,
}

impl Weights {
    pub(super) fn of_f32(name: &str, shape: &[usize], values: &[f32]) -> Weights {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        let dims = shape.iter().map(|dim| *dim as i64).collect();
        Weights { dims, data_type: FLOAT, name: name.to_owned(), raw_data }
    }

    pub(super) fn of_i64(name: &str, values: &[i64]) -> Weights {
        let raw_data = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Weights { dims: vec![values.len() as i64], data_type: INT64, name: name.to_owned(), raw_data }
    }
}

/// `ValueInfoProto`
#[derive(Clone, PartialEq, Message)]
pub(super) struct ValueInfo {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, optional, tag = "2")]
    kind: Option<Kind>,
}

/// `TypeProto`
#[derive(Clone, PartialEq, Message)]
struct Kind {
    #[prost(message, optional, tag = "1")]
    tensor: Option<TensorKind>,
}

/// `TypeProto.Tensor`
#[derive(Clone, PartialEq, Message)]
struct TensorKind {
    #[prost(int32, tag = "1")]
    elem_type: i32,
    #[prost(message, optional, tag = "2")]
    shape: Option<Shape>,
}

/// `TensorShapeProto`
#[derive(Clone, PartialEq, Message)]
struct Shape {
    #[prost(message, repeated, tag = "1")]
    dim: Vec<Dimension>,
}

/// `TensorShapeProto.Dimension`
#[derive(Clone, PartialEq, Message)]
struct Dimension {
    #[prost(oneof = "Extent", tags = "1, 2")]
    extent: Option<Extent>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Extent {
    #[prost(int64, tag = "1")]
    Value(i64),
    #[prost(string, tag = "2")]
    Name(String),
}

/// A batch of images `[batch, channels, size, size]`, as many as one likes.
pub(super) fn image(name: &str, channels: usize) -> ValueInfo {
    let fixed = Dimension { extent: Some(Extent::Value(channels as i64)) };
    let [batch, height, width] =
        ["batch", "height", "width"].map(|name| Dimension { extent: Some(Extent::Name(name.to_owned())) });
    let shape = Shape { dim: vec![batch, fixed, height, width] };
    let tensor = TensorKind { elem_type: FLOAT, shape: Some(shape) };
    ValueInfo { name: name.to_owned(), kind: Some(Kind { tensor: Some(tensor) }) }
}

/// The file of a graph.
pub(super) fn model(graph: Graph, version: &str) -> Model {
    Model {
        ir_version: IR_VERSION,
        producer_name: "resconv".to_owned(),
        producer_version: version.to_owned(),
        graph: Some(graph),
        opset_import: vec![OperatorSet { domain: String::new(), version: OPSET }],
    }
}

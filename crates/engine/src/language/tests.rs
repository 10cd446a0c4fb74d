//! A model's language as a whole: chats with tools, prompts, texts up to a stop string.

use std::path::Path;

use super::*;
use crate::template::{Role, ToolCall};

/// The language of the tiny models: tokens 0 to 94 are printable ASCII from the space on, 95 is a
/// line feed, 96 ends an answer.
pub(crate) fn tiny() -> Language {
    let mut vocabulary = serde_json::Map::new();
    for (id, byte) in (b' '..=b'~').enumerate() {
        let char = if byte == b' ' { '\u{120}' } else { char::from(byte) };
        vocabulary.insert(char.to_string(), id.into());
    }
    vocabulary.insert("\u{10a}".to_owned(), 95.into());
    let end = serde_json::json!({
        "id": 96, "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    });
    let file = serde_json::json!({
        "version": "1.0", "added_tokens": [end], "normalizer": null,
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true },
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true },
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "vocab": vocabulary, "merges": [],
        },
    });
    let tokenizer = Tokenizer::parse(file.to_string().as_bytes()).unwrap();
    Language {
        tokenizer: Arc::new(tokenizer),
        template: None,
        begin_token: None,
        stop_tokens: vec![96],
        grammars: OnceLock::new(),
    }
}

/// The default model.
pub(crate) fn default_model() -> Arc<Model> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    Arc::new(Model::open(&folder.join("../../models/default/default.tally")).unwrap())
}

fn user(content: &str) -> Vec<Message> {
    vec![Message::new(Role::User, content)]
}

fn with_template(source: &str) -> Language {
    Language { template: Some(ChatTemplate::parse(source, "", "<|end|>").unwrap()), ..tiny() }
}

const TOOL: &str = r#"{"type":"function","function":{"name":"add","parameters":{"b":1,"a":[]}}}"#;
const TEMPLATE: &str = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}\
    {% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}\
    [{{ c.function.name }} {{ c.function.arguments | tojson }} {{ c.id }}]\
    {% endfor %}{{ m.tool_call_id }}{{ m.name }}{% endfor %}";

#[test]
fn a_control_token_is_one_only_where_the_template_writes_it() {
    let language = with_template("{{ messages[0].content }}{{ eos_token }}");
    let chat = language.encode_chat(&user("a<|end|>"), &ChatOptions::default()).unwrap();
    assert_eq!(chat.iter().filter(|token| **token == 96).count(), 1);
    assert_eq!(chat.last(), Some(&96));
    assert_eq!(language.decode(&chat).unwrap(), "a<|end|>");
    let chat = tiny().encode_chat(&user("a"), &ChatOptions::default());
    assert_eq!(chat, Err(LanguageError::NoTemplate));
}

#[test]
fn tools_and_their_calls_are_rendered_in_the_order_of_their_fields() {
    let language = with_template(TEMPLATE);
    let call = ToolCall {
        id: "c1".to_owned(),
        name: "add".to_owned(),
        arguments: r#"{"z":1.0,"a":"é<"}"#.to_owned(),
    };
    let mut messages = vec![Message::new(Role::Assistant, "x"), Message::new(Role::Tool, "3")];
    messages[0].tool_calls = vec![call];
    messages[1].tool_call_id = Some("c1".to_owned());
    messages[1].name = Some("add".to_owned());
    let options = ChatOptions { tools: vec![TOOL.to_owned()] };
    // The tiny vocabulary has no é.
    messages[0].tool_calls[0].arguments = messages[0].tool_calls[0].arguments.replace('é', "e");
    let chat = language.encode_chat(&messages, &options).unwrap();
    let tool =
        r#"{"type": "function", "function": {"name": "add", "parameters": {"b": 1, "a": []}}}"#;
    let expected = format!(r#"{tool}x[add {{"z": 1.0, "a": "e<"}} c1]3c1add"#);
    assert_eq!(language.decode(&chat).unwrap(), expected);
}

#[test]
fn texts_of_tools_that_contain_a_control_token_are_refused() {
    let language = with_template(TEMPLATE);
    let control = "<|end|>".to_owned();
    let refused = Err(LanguageError::ControlInTool { token: 96, control });
    for tool in
        [r#"{"name":"a<|end|>b"}"#, r#"{"a<|end|>":1}"#, r#"{"a":[{"b":["\u003c|end|\u003e"]}]}"#]
    {
        let options = ChatOptions { tools: vec![TOOL.to_owned(), tool.to_owned()] };
        assert_eq!(language.encode_chat(&user("x"), &options), refused, "{tool}");
    }
    let harmless = ChatOptions { tools: vec![r#"{"a":"<|end"}"#.to_owned()] };
    assert!(language.encode_chat(&user("x"), &harmless).is_ok());
    let options = ChatOptions::default();
    let with = |change: &dyn Fn(&mut Message)| {
        let mut messages = user("x");
        change(&mut messages[0]);
        language.encode_chat(&messages, &options)
    };
    let call = |id: &str, name: &str, arguments: &str| {
        let [id, name, arguments] = [id, name, arguments].map(str::to_owned);
        vec![ToolCall { id, name, arguments }]
    };
    assert!(with(&|m| m.tool_calls = call("1", "f", "{}")).is_ok());
    assert_eq!(with(&|m| m.tool_calls = call("<|end|>", "f", "{}")), refused);
    assert_eq!(with(&|m| m.tool_calls = call("1", "<|end|>", "{}")), refused);
    assert_eq!(with(&|m| m.tool_calls = call("1", "f", r#"{"a":"<|end|>"}"#)), refused);
    assert_eq!(with(&|m| m.tool_call_id = Some("<|end|>".to_owned())), refused);
    assert_eq!(with(&|m| m.name = Some("<|end|>".to_owned())), refused);
    // What a tool answers is content, and stays text.
    assert!(with(&|m| m.content = "<|end|>".to_owned()).is_ok());
}

#[test]
fn tools_that_a_template_does_not_know_are_refused_by_name() {
    let plain = with_template("{{ messages[0].content }}");
    let options = ChatOptions { tools: vec![TOOL.to_owned()] };
    let unknown = |name| Err(LanguageError::Template(TemplateError::Unknown { name }));
    assert_eq!(plain.encode_chat(&user("x"), &options), unknown("tools"));
    let mut messages = user("x");
    let [id, name, arguments] = ["1", "f", "{}"].map(str::to_owned);
    messages[0].tool_calls = vec![ToolCall { id, name, arguments }];
    assert_eq!(plain.encode_chat(&messages, &ChatOptions::default()), unknown("tool_calls"));

    let language = with_template(TEMPLATE);
    for text in ["", "[]", "1", "{", r#"{"a":1}}"#] {
        let options = ChatOptions { tools: vec![text.to_owned()] };
        let found = language.encode_chat(&user("x"), &options);
        let is_tool = |e: &LanguageError| {
            matches!(e, LanguageError::Template(TemplateError::Tool { index: 0, .. }))
        };
        assert!(found.as_ref().is_err_and(is_tool), "{text}: {found:?}");
        messages[0].tool_calls[0].arguments = text.to_owned();
        let found = language.encode_chat(&messages, &ChatOptions::default());
        let is_call = |e: &LanguageError| {
            matches!(e, LanguageError::Template(TemplateError::Arguments { .. }))
        };
        assert!(found.as_ref().is_err_and(is_call), "{text}: {found:?}");
    }
    let mut options = ChatOptions { tools: vec!["{}".to_owned(); crate::template::TOOLS_MAX] };
    assert!(language.encode_chat(&user("x"), &options).is_ok());
    options.tools.push("{}".to_owned());
    let found = options.tools.len();
    let expected = Err(LanguageError::Template(TemplateError::Tools { found }));
    assert_eq!(language.encode_chat(&user("x"), &options), expected);
}

#[test]
fn a_prompt_begins_with_the_begin_token_where_the_model_has_one() {
    let language = Language::of(&default_model()).unwrap();
    let prompt = language.encode_prompt("Hi").unwrap();
    let begin = language.tokenizer().control_tokens()["<|begin|>"];
    assert_eq!(prompt[0], begin);
    assert_eq!(prompt[1..], language.tokenizer().encode("Hi").unwrap());
    assert_eq!(tiny().encode_prompt("Hi").unwrap(), [40, 73]);
}

/// Held against what Jinja2 makes of the same template, with `json.dumps` as `tojson`.
#[test]
fn the_default_model_lists_tools_and_their_calls_as_published_templates_do() {
    let model = default_model();
    let template = ChatTemplate::parse(model.template(), "<|begin|>", "<|end|>").unwrap();
    let render = |messages: &[Message], tools: &[&str]| -> String {
        let tools = tools.iter().map(|tool| (*tool).to_owned()).collect();
        let pieces = template.render(messages, &ChatOptions { tools }, true).unwrap();
        pieces.iter().map(crate::tokenizer::Piece::text).collect()
    };
    let tool = r#"{"type":"function","function":{"name":"add","description":"Adds é < two"}}"#;
    let call = |id: &str, arguments: &str| {
        let [id, name, arguments] = [id, "add", arguments].map(str::to_owned);
        ToolCall { id, name, arguments }
    };
    let mut messages = vec![
        Message::new(Role::System, "Be brief."),
        Message::new(Role::User, "1+2?"),
        Message::new(Role::Assistant, ""),
        Message::new(Role::Tool, "3"),
        Message::new(Role::User, "Thanks"),
    ];
    let plain = "<|begin|><|system|>Be brief.<|end|><|user|>1+2?<|end|><|assistant|>";
    assert_eq!(render(&messages[..2], &[]), plain);
    messages[2].tool_calls = vec![call("c1", r#"{"b":2,"a":1.0}"#), call("c2", "{}")];
    let tools = "# Tools\n\nFunctions within <tools></tools>:\n<tools>\n\
        {\"type\": \"function\", \"function\": {\"name\": \"add\", \"description\": \"Adds é < two\"}}\n\
        </tools>\n\nCall one with a JSON object:\n<tool_call>\n\
        {\"name\": <name>, \"arguments\": <object>}\n</tool_call><|end|>";
    let rest = "<|user|>1+2?<|end|><|assistant|><tool_call>\n\
        {\"name\": \"add\", \"arguments\": {\"b\": 2, \"a\": 1.0}}\n</tool_call>\n<tool_call>\n\
        {\"name\": \"add\", \"arguments\": {}}\n</tool_call><|end|><|user|><tool_response>\n3\n\
        </tool_response><|end|><|user|>Thanks<|end|><|assistant|>";
    let with_system = format!("<|begin|><|system|>Be brief.\n\n{tools}{rest}");
    assert_eq!(render(&messages, &[tool]), with_system);
    let without = format!("<|begin|><|system|>{tools}{rest}");
    assert_eq!(render(&messages[1..], &[tool]), without);
}

//! From output tokens to the bytes of an answer: one JSON body, or the events of a stream.
//!
//! A function of the request, the statement's id, time and model, and the tokens with their
//! log-probabilities: so whoever replays a receipt can make the same bytes again. The bytes are
//! those that the receipt commits to, without the member `tally`.

use std::sync::Arc;

use tally_core::{
    Digest,
    computation::{FinishReason, TokenId},
};
use tally_engine::{
    ARITHMETIC, Language, batch::TokenLogprobs, language::LanguageError, stop::TextStream,
};

use crate::{
    api::{
        asked::{Asked, Form},
        response::{
            AnswerCall, AnswerMessage, ChatChoice, ChatChunk, ChatCompletion, ChatLogprobs,
            ChunkChoice, Completion, CompletionChoice, CompletionLogprobs, Delta, LogProbability,
            TokenLogprob, TopLogprob, Usage,
        },
    },
    tools::{CallReader, Said},
};

/// What an answer's frame says.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Receipt id of the first choice.
    pub id: [u8; 16],
    /// The statement's time, in milliseconds.
    pub time_ms: u64,
    /// Root of the model.
    pub model_root: Digest,
    /// Tokens of all prompts.
    pub prompt_tokens: u64,
}

/// An answer in the making.
#[derive(Debug)]
pub struct Responder {
    asked: Arc<Asked>,
    language: Arc<Language>,
    id: String,
    receipt_id: String,
    created: u64,
    fingerprint: String,
    prompt_tokens: u64,
    choices: Vec<Choice>,
}

/// One choice in the making.
#[derive(Debug)]
struct Choice {
    /// Taken at the end.
    stream: Option<TextStream>,
    reader: Option<CallReader>,
    content: String,
    calls: Vec<AnswerCall>,
    logprobs: Vec<TokenLogprob>,
    token_count: u64,
    /// Characters of the tokens so far, for the offsets of a plain completion.
    offset: u64,
    finish: Option<&'static str>,
}

/// What is new of a choice.
#[derive(Debug, Default)]
struct News {
    text: String,
    calls: Vec<AnswerCall>,
    logprob: Option<TokenLogprob>,
    offset: u64,
}

impl Responder {
    /// Begins an answer.
    #[must_use]
    pub fn new(asked: Arc<Asked>, language: Arc<Language>, frame: &Frame) -> Self {
        let receipt_id = hex::encode(frame.id);
        let calls = matches!(&asked.form, Form::Chat { calls: Some(_), .. });
        let (prefix, reader) = match &asked.form {
            Form::Chat { .. } => ("chatcmpl", calls.then(CallReader::default)),
            Form::Completion { .. } => ("cmpl", None),
        };
        let choice = || Choice {
            stream: Some(language.stream(&asked.controls.stop)),
            reader: reader.clone(),
            content: String::new(),
            calls: vec![],
            logprobs: vec![],
            token_count: 0,
            offset: 0,
            finish: None,
        };
        Self {
            id: format!("{prefix}-{receipt_id}"),
            created: frame.time_ms / 1000,
            fingerprint: format!("{ARITHMETIC}:{}", &frame.model_root.to_string()[..16]),
            prompt_tokens: frame.prompt_tokens,
            choices: (0..asked.choices()).map(|_| choice()).collect(),
            receipt_id,
            asked,
            language,
        }
    }

    /// How the model writes.
    #[must_use]
    pub const fn language(&self) -> &Arc<Language> {
        &self.language
    }

    /// The first events of a stream: who speaks, for each choice of a chat.
    #[must_use]
    pub fn open(&self) -> Vec<Vec<u8>> {
        let indexes = 0..self.asked.choices();
        match &self.asked.form {
            Form::Chat { .. } => indexes
                .map(|index| {
                    let content = Some(String::new());
                    let delta = Delta { role: Some("assistant"), content, tool_calls: vec![] };
                    self.chunk(index, delta, None, None)
                })
                .collect(),
            Form::Completion { .. } => {
                indexes.map(|index| self.completion_chunk(index, &News::default(), None)).collect()
            }
        }
    }

    /// Adds a token; returns the event that it makes.
    ///
    /// # Errors
    /// A token that the model's tokenizer does not have.
    pub fn push(
        &mut self,
        index: u32,
        token: TokenId,
        logprobs: Option<&TokenLogprobs>,
    ) -> Result<Vec<u8>, LanguageError> {
        let language = Arc::clone(&self.language);
        let receipt_id = self.receipt_id.clone();
        let choice = &mut self.choices[index as usize];
        let text = match &mut choice.stream {
            Some(stream) => stream.push(token)?.text,
            None => String::new(),
        };
        let logprob = logprobs.map(|found| shown(&language, token, found));
        let mut news = News { logprob: logprob.clone(), offset: choice.offset, ..News::default() };
        choice.token_count += 1;
        choice.offset += logprob.as_ref().map_or(0, |found| found.token.chars().count() as u64);
        choice.logprobs.extend(logprob);
        choice.take(&text, &receipt_id, &mut news);
        Ok(match &self.asked.form {
            Form::Chat { .. } => {
                let content = (!news.text.is_empty() || news.calls.is_empty()).then_some(news.text);
                let logprobs = news.logprob.map(|logprob| ChatLogprobs { content: vec![logprob] });
                let delta = Delta { role: None, content, tool_calls: news.calls };
                self.chunk(index, delta, logprobs, None)
            }
            Form::Completion { .. } => self.completion_chunk(index, &news, None),
        })
    }

    /// Ends a choice; returns the event that says so, with what text was still held back.
    pub fn finish(&mut self, index: u32, finish: FinishReason) -> Vec<u8> {
        let receipt_id = self.receipt_id.clone();
        let choice = &mut self.choices[index as usize];
        let mut news = News { offset: choice.offset, ..News::default() };
        if let Some(stream) = choice.stream.take() {
            choice.take(&stream.finish(), &receipt_id, &mut news);
        }
        if let Some(mut reader) = choice.reader.take() {
            let said = reader.finish();
            choice.note(said, &mut news);
        }
        let reason = match finish {
            FinishReason::Stop | FinishReason::StopString if choice.calls.is_empty() => "stop",
            FinishReason::Stop | FinishReason::StopString => "tool_calls",
            FinishReason::Length => "length",
            FinishReason::Cancelled => "cancelled",
        };
        choice.finish = Some(reason);
        match &self.asked.form {
            Form::Chat { .. } => {
                let content = (!news.text.is_empty()).then_some(news.text);
                let delta = Delta { role: None, content, tool_calls: news.calls };
                self.chunk(index, delta, None, Some(reason))
            }
            Form::Completion { .. } => self.completion_chunk(index, &news, Some(reason)),
        }
    }

    /// The event that says how many tokens there were, if the request asks for it.
    #[must_use]
    pub fn usage_event(&self) -> Option<Vec<u8>> {
        self.asked.stream.filter(|form| form.includes_usage)?;
        let usage = Some(self.usage());
        Some(match &self.asked.form {
            Form::Chat { .. } => bytes(&ChatChunk { usage, ..self.empty_chunk() }),
            Form::Completion { .. } => bytes(&Completion { usage, ..self.empty_completion() }),
        })
    }

    /// The body of an answer that is no stream.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let usage = self.usage();
        match &self.asked.form {
            Form::Chat { .. } => bytes(&ChatCompletion {
                id: self.id.clone(),
                object: "chat.completion",
                created: self.created,
                model: self.asked.model.clone(),
                system_fingerprint: self.fingerprint.clone(),
                choices: (0..)
                    .zip(&self.choices)
                    .map(|(index, each)| self.answer(index, each))
                    .collect(),
                usage,
            }),
            Form::Completion { .. } => bytes(&Completion {
                usage: Some(usage),
                choices: (0..)
                    .zip(&self.choices)
                    .map(|(index, each)| self.text(index, each))
                    .collect(),
                ..self.empty_completion()
            }),
        }
    }

    fn usage(&self) -> Usage {
        let prompt_tokens = self.prompt_tokens;
        let completion_tokens = self.choices.iter().map(|choice| choice.token_count).sum();
        let total_tokens = prompt_tokens + completion_tokens;
        Usage { prompt_tokens, completion_tokens, total_tokens }
    }

    fn answer(&self, index: u32, choice: &Choice) -> ChatChoice {
        let has_content = !choice.content.is_empty() || choice.calls.is_empty();
        let calls = choice.calls.iter().cloned();
        ChatChoice {
            index,
            message: AnswerMessage {
                role: "assistant",
                content: has_content.then(|| choice.content.clone()),
                refusal: None,
                tool_calls: calls.map(|call| AnswerCall { index: None, ..call }).collect(),
            },
            logprobs: self
                .asked
                .logprobs
                .map(|_| ChatLogprobs { content: choice.logprobs.clone() }),
            finish_reason: choice.finish.unwrap_or("cancelled"),
        }
    }

    fn text(&self, index: u32, choice: &Choice) -> CompletionChoice {
        let logprobs = self.asked.logprobs.map(|_| {
            let (mut logprobs, mut offset) = (CompletionLogprobs::default(), 0);
            for found in &choice.logprobs {
                add_logprob(&mut logprobs, found, offset);
                offset += found.token.chars().count() as u64;
            }
            logprobs
        });
        CompletionChoice {
            index,
            text: choice.content.clone(),
            logprobs,
            finish_reason: choice.finish,
        }
    }

    fn chunk(
        &self,
        index: u32,
        delta: Delta,
        logprobs: Option<ChatLogprobs>,
        finish_reason: Option<&'static str>,
    ) -> Vec<u8> {
        let choices = vec![ChunkChoice { index, delta, logprobs, finish_reason }];
        bytes(&ChatChunk { choices, ..self.empty_chunk() })
    }

    fn completion_chunk(
        &self,
        index: u32,
        news: &News,
        finish_reason: Option<&'static str>,
    ) -> Vec<u8> {
        let logprobs = news.logprob.as_ref().map(|logprob| {
            let mut logprobs = CompletionLogprobs::default();
            add_logprob(&mut logprobs, logprob, news.offset);
            logprobs
        });
        let choice = CompletionChoice { index, text: news.text.clone(), logprobs, finish_reason };
        bytes(&Completion { choices: vec![choice], ..self.empty_completion() })
    }

    fn empty_chunk(&self) -> ChatChunk {
        ChatChunk {
            id: self.id.clone(),
            object: "chat.completion.chunk",
            created: self.created,
            model: self.asked.model.clone(),
            system_fingerprint: self.fingerprint.clone(),
            choices: vec![],
            usage: None,
        }
    }

    fn empty_completion(&self) -> Completion {
        Completion {
            id: self.id.clone(),
            object: "text_completion",
            created: self.created,
            model: self.asked.model.clone(),
            system_fingerprint: self.fingerprint.clone(),
            choices: vec![],
            usage: None,
        }
    }
}

impl Choice {
    /// Takes new text in, and its calls out.
    fn take(&mut self, text: &str, receipt_id: &str, news: &mut News) {
        let said = match &mut self.reader {
            Some(reader) => reader.push(text, receipt_id),
            None => vec![Said::Text(text.to_owned())],
        };
        self.note(said, news);
    }

    fn note(&mut self, said: Vec<Said>, news: &mut News) {
        for said in said {
            match said {
                Said::Text(text) => {
                    self.content.push_str(&text);
                    news.text.push_str(&text);
                }
                Said::Call(call) => {
                    self.calls.push(call.clone());
                    news.calls.push(call);
                }
            }
        }
    }
}

fn add_logprob(logprobs: &mut CompletionLogprobs, found: &TokenLogprob, offset: u64) {
    logprobs.tokens.push(found.token.clone());
    logprobs.token_logprobs.push(found.logprob);
    let top = found.top_logprobs.iter().flatten();
    logprobs.top_logprobs.push(top.map(|top| (top.token.clone(), top.logprob)).collect());
    logprobs.text_offset.push(offset);
}

fn shown(language: &Language, token: TokenId, found: &TokenLogprobs) -> TokenLogprob {
    let (text, bytes) = text_of(language, token);
    let top = found.top.iter().map(|(token, logprob)| {
        let (text, bytes) = text_of(language, *token);
        TopLogprob { token: text, logprob: LogProbability(logprob.millionths()), bytes }
    });
    TokenLogprob {
        token: text,
        logprob: LogProbability(found.log_probability.millionths()),
        bytes,
        top_logprobs: Some(top.collect()),
    }
}

/// A token's text and bytes; a control token has its name and no bytes.
fn text_of(language: &Language, token: TokenId) -> (String, Vec<u8>) {
    let bytes = language.tokenizer().token_bytes(token).unwrap_or_default().to_vec();
    let control = language.tokenizer().control_tokens();
    let name = control.iter().find(|(_, id)| **id == token).map(|(name, _)| name.clone());
    (name.unwrap_or_else(|| String::from_utf8_lossy(&bytes).into_owned()), bytes)
}

/// JSON of a value without maps of odd keys: it cannot fail.
fn bytes<T: serde::Serialize>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_default()
}

"""What programs add at the end of a mail, and own words that resemble it. Every mail here is invented."""

# ruff: noqa: E501
from __future__ import annotations

import pytest

from dittod.ingest.mail import own_words

DEVICE_LINES = (
    "Sent from my iPhone",
    "Sent from my Verizon, Samsung Galaxy smartphone",
    "Sent from Outlook for iOS",
    "Sent from Mail for Windows 10",
    "Get Outlook for Android",
    "Sent from Yahoo Mail for iPhone",
    "Sent via BlackBerry from T-Mobile",
    "Von meinem iPhone gesendet",
    "Von meinem Samsung Galaxy Smartphone gesendet.",
    "Diese Nachricht wurde von meinem Android-Mobiltelefon mit GMX Mail gesendet.",
    "Gesendet von Mail für Windows 10",
    "Gesendet von Outlook für iOS",
    "Gesendet mit der GMX Mail App",
    "Gesendet mit der WEB.DE Mail App",
    "Holen Sie sich Outlook für iOS",
    "Outlook für iOS beziehen",
    "Envoyé de mon iPhone",
    "Envoyé depuis mon appareil mobile Samsung.",
    "Envoyé à partir d'Outlook pour iOS",
    "Télécharger Outlook pour Android",
    "Enviado desde mi iPhone",
    "Enviado desde Outlook para Android",
    "Obtener Outlook para iOS",
    "Enviado desde Correo para Windows 10",
    "Enviado do meu iPhone",
    "Enviado do Outlook para Android",
    "Obter o Outlook para iOS",
    "Inviato da iPhone",
    "Inviato dal mio dispositivo Samsung",
    "Inviato da Posta per Windows 10",
    "Scarica Outlook per Android",
    "Verzonden vanaf mijn iPhone",
    "Verstuurd vanaf mijn iPad",
    "Verzonden met Outlook voor iOS",
    "Outlook voor iOS downloaden",
    "Wysłane z iPhone'a",
    "Wysłano z mojego urządzenia Galaxy",
    "Wysłane z programu Outlook dla systemu iOS",
    "Skickat från min iPhone",
    "Skickat från Outlook för iOS",
    "Sendt fra min iPhone",
    "Sendt fra Outlook for iOS",
    "Отправлено с iPhone",
    "Отправлено из мобильной Почты Mail.ru",
    "Отправлено с моего Samsung",
    "发自我的 iPhone",
    "发自我的华为手机",
    "從我的 iPhone 傳送",
    "iPhoneから送信",
    "Odesláno z iPhonu",
    "Lähetetty iPhonesta",
    "iPhone'umdan gönderildi",
    "나의 iPhone에서 보냄",
    "Sent with Proton Mail secure email.",
    "Sent with [Proton Mail](https://proton.me/) secure email.",
    "Sent from my Android device with K-9 Mail. Please excuse my brevity.",
    "Diese Nachricht wurde von meinem Android-Gerät mit K-9 Mail gesendet.",
    "Envoyé de mon appareil Android avec Courriel K-9 Mail. Veuillez excuser ma brièveté.",
    "Please excuse typos",
    "Sent from my mobile, please excuse brevity and typos.",
    "[Sent from my iPhone]",
    "*Sent from my iPad*",
    "Sent from a mobile device",
    "Enviado a partir do meu smartphone Samsung Galaxy.",
)
FOOTERS = (
    "_______________________________________________\nchoir mailing list\nchoir@lists.example.org\nhttps://lists.example.org/choir",
    '-- \nYou received this message because you are subscribed to the Google Groups "choir" group.\nTo unsubscribe from this group and stop receiving emails from it, send an email to choir+unsubscribe@example.com.',
    'You received this message because you are subscribed to the Google Groups "choir" group.\nTo post to this group, send email to choir@example.com',
    '--\nSie erhalten diese Nachricht, weil Sie in Google Groups E-Mails von der Gruppe "chor" abonniert haben.\nWenn Sie sich von dieser Gruppe abmelden möchten, senden Sie eine E-Mail',
    "__________________________________________________\nDo You Yahoo!?\nTired of spam? Yahoo! Mail has the best spam protection around\nhttp://mail.yahoo.com",
    "_________________________________________________________________\nChat with friends online, try MSN Messenger: http://messenger.msn.com",
    "---------------------------------\nDo you Yahoo!?\nYahoo! Mail - now with 250MB free storage.",
    "---\nThis email has been checked for viruses by Avast antivirus software.\nhttps://www.avast.com/antivirus",
    "---\nDiese E-Mail wurde von Avast Antivirus-Software auf Viren geprüft.\nhttps://www.avast.com/antivirus",
    "Virus-free. www.avast.com",
    "Garanti sans virus. www.avast.com",
    "Please consider the environment before printing this e-mail.",
    "Bitte denken Sie an die Umwelt, bevor Sie diese E-Mail ausdrucken.",
    "Pensez à l'environnement avant d'imprimer ce message.",
    "To unsubscribe, visit https://lists.example.org/u/123",
    "------------------------ Yahoo! Groups Sponsor --------------------~-->\nBuy stock for $4.\nhttp://us.click.yahoo.com/x\n---------------------------------------------------------------------~->\n\nYour use of Yahoo! Groups is subject to http://docs.yahoo.com/info/terms/",
    "Gesendet mit WEB.DE FreeMail - https://web.de",
)
DISCLAIMERS = (
    "This e-mail and any attachments are confidential and may be privileged. If you are not the intended recipient, please notify the sender immediately and delete it.",
    "CONFIDENTIALITY NOTICE: This e-mail is intended only for the person to whom it is addressed and may contain confidential information. Any unauthorized review is prohibited.",
    "Diese E-Mail enthält vertrauliche und/oder rechtlich geschützte Informationen. Wenn Sie nicht der richtige Adressat sind oder diese E-Mail irrtümlich erhalten haben, informieren Sie bitte sofort den Absender und vernichten Sie diese Mail.",
    "Ce message et toutes les pièces jointes sont confidentiels et établis à l'intention exclusive de ses destinataires. Si vous avez reçu ce message par erreur, merci de le détruire.",
    "Este mensaje y sus archivos adjuntos van dirigidos exclusivamente a su destinatario, pudiendo contener información confidencial. Si ha recibido este mensaje por error, rogamos lo comunique y proceda a su eliminación.",
    "AVISO LEGAL: Este correo electrónico es confidencial. Si no es usted el destinatario, le informamos que está prohibida su divulgación.",
    "Questo messaggio e i suoi allegati sono riservati al solo destinatario. Se avete ricevuto il messaggio per errore, siete pregati di distruggerlo e di avvisare il mittente.",
    "Le informazioni contenute nella presente e-mail sono riservate ed esclusivamente per il destinatario. È vietata la diffusione.",
    "Dit bericht is vertrouwelijk en uitsluitend bestemd voor de geadresseerde. Als u dit bericht ten onrechte heeft ontvangen, verzoeken wij u het te verwijderen.",
    "Esta mensagem pode conter informação confidencial e destina-se exclusivamente ao destinatário. Se recebeu por engano, por favor apague-a.",
    "Ta wiadomość zawiera informacje poufne przeznaczone wyłącznie dla adresata. Jeśli otrzymali ją Państwo omyłkowo, prosimy o usunięcie.",
    "Настоящее сообщение содержит конфиденциальную информацию. Если вы не являетесь получателем, просим удалить его.",
    "本邮件及其附件含有保密信息，仅限于收件人使用。如果您误收了本邮件，请立即删除。",
)
OWN_LINES = (
    "Sent the parcel from the post office this morning.",
    "This message is short.",
    "Please print the report for Ann.",
    "To subscribe to the paper, call Ann.",
    "Yahoo! Mail is down again.",
    "Diese Dateien kannst du bestimmt alle löschen.",
    "Get your free ticket at the door.",
    "Gesendet wird erst morgen.",
    "This e-mail is for you only.",
    "Please excuse me for being late yesterday.",
    "Confidential stuff will be disclosed later, delete nothing.",
    "Free coffee at the office, and http://example.com is the menu.",
    "Sent by Ann, not by me.",
    "We got it from my phone.",
    "Inviato tutto ieri.",
    "Enviado todo ayer por la tarde.",
    "I sent from home the file.",
    "MSN is fine for me.",
    "- Yahoo! Mail (https://mail.example.com)\n- Zoho Mail (https://zoho.example.com)",
    "Join us on Friday.",
    "- one\n- two",
    "The environment matters to me.",
    "This message contains what you asked for: the confidential list. Please delete it after reading.",
)


@pytest.mark.parametrize("gap", ["\n", "\n\n"], ids=["directly below", "below an empty line"])
@pytest.mark.parametrize("ending", [*DEVICE_LINES, *FOOTERS, *DISCLAIMERS])
def test_what_a_program_added_is_cut_at_the_end_and_above_a_quotation(ending: str, gap: str) -> None:
    own = "I am late, sorry.\n\nBob"
    assert own_words(f"{own}{gap}{ending}").kept == own
    assert own_words(f"{own}{gap}{ending}\n\nOn 5 Jan 2015 at 15:04 Ann wrote:\n> Where are you?").kept == own


@pytest.mark.parametrize("line", OWN_LINES)
def test_own_words_that_resemble_it_are_kept(line: str) -> None:
    for text in (f"Hello Ann,\n\nall is well.\n{line}", f"Hello Ann,\n\nall is well.\n\n{line}\n\nBob"):
        assert own_words(text).kept == text


def test_each_ending_below_the_other_is_cut_with_its_reason() -> None:
    text = f"I am late.\n\nBob\n\n{DEVICE_LINES[0]}\n\n{DISCLAIMERS[0]}\n\n{FOOTERS[0]}\n\n - map.pdf"
    cut = own_words(text)
    assert cut.kept == "I am late.\n\nBob"
    assert cut.removed[0] == (5, "device")
    assert {reason for _, reason in cut.removed} == {"device", "disclaimer", "footer", "attachment"}


def test_the_footer_of_web_mail_below_a_quotation_is_cut() -> None:
    cut = own_words(f"Yes.\n\nAnn wrote:\n> Lunch?\n\n{FOOTERS[5]}")
    assert cut.kept == "Yes."


def test_a_mail_that_opens_with_a_word_on_its_confidence_is_kept_whole() -> None:
    text = (
        "This message is confidential and privileged.\n\nAnn, the third witness saw the blue van twice, and she is sure "
        "of the plate.\nPlease do not disclose her name.\n\nBob"
    )
    assert own_words(text).kept == text
    assert own_words(f"Dear Ann,\n\n{text}").kept == f"Dear Ann,\n\n{text}"


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Two files:\n - plan.doc\n - list.pdf", "Two files:\n - plan.doc\n - list.pdf"),
        ("See both.\n\nBob\n\n - plan.doc\n - list.pdf << File: list.pdf >> ", "See both.\n\nBob"),
        ("See it.\n << File: plan.doc >> \nBob", "See it.\nBob"),
        ("A hat [image: a hat] is what I mean.", "A hat [image: a hat] is what I mean."),
        ("[cid:image001.png@01D0]\nSee above.", "See above."),
    ],
)
def test_the_place_of_an_attachment_is_cut_and_a_list_of_files_is_kept(text: str, kept: str) -> None:
    assert own_words(text).kept == kept
